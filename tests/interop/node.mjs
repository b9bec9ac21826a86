// A js-libp2p peer that does what it is told: one JSON order a line in, one JSON answer a line out.
// Arguments: the protocol id of the index, the topic, the protocol id of the echo.
import { createHash, randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'

const [kadProtocol, topic, echoProtocol, plain] = process.argv.slice(2)
const services = { identify: identify(), ping: ping({ maxOutboundStreams: 4 }) }
if (plain !== 'plain') {
  services.dht = kadDHT({
    protocol: kadProtocol,
    peerInfoMapper: passthroughMapper,
    clientMode: false,
    allowQueryWithZeroPeers: true
  })
  services.pubsub = gossipsub({
    allowPublishToZeroTopicPeers: true,
    emitSelf: false,
    globalSignaturePolicy: 'StrictSign'
  })
}
const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionMonitor: { enabled: false },
  services
})

const heard = []
let onHeard = () => {}
if (services.pubsub != null) {
  node.services.pubsub.subscribe(topic)
  node.services.pubsub.addEventListener('message', (event) => {
    heard.push([event.detail.from?.toString(), new TextDecoder().decode(event.detail.data)])
    onHeard()
  })
}
let identified
const wasIdentified = new Promise((resolve) => {
  node.addEventListener('peer:identify', (event) => {
    identified ??= {
      agent: event.detail.agentVersion,
      protocols: event.detail.protocols,
      addresses: event.detail.listenAddrs.map(String)
    }
    resolve()
  })
})
let closed = false
node.addEventListener('connection:close', () => { closed = true })

let connection

async function cidOf (key) {
  return CID.createV1(raw.code, await sha256.digest(new TextEncoder().encode(key)))
}

// Everything sent in pieces as the window lets us, while everything that comes back is hashed.
async function echo (size, idleMs) {
  const stream = await connection.newStream(echoProtocol)
  const sent = createHash('sha256')
  const back = createHash('sha256')
  let backBytes = 0
  let waits = 0
  const reading = (async () => {
    for await (const chunk of stream) {
      const data = chunk.subarray()
      backBytes += data.length
      back.update(data)
    }
  })()
  if (idleMs > 0) {
    stream.pause()
    setTimeout(() => { stream.resume() }, idleMs)
  }
  for (let left = size; left > 0;) {
    const data = randomBytes(Math.min(left, 64 * 1024))
    left -= data.length
    sent.update(data)
    if (!stream.send(data)) {
      waits++
      await stream.onDrain()
    }
  }
  await stream.close()
  await reading
  return { bytes: backBytes, equal: sent.digest('hex') === back.digest('hex'), waits }
}

const orders = {
  async addresses () {
    return { addresses: node.getMultiaddrs().map(String) }
  },
  async connect ({ address }) {
    connection = await node.dial(multiaddr(address))
    await wasIdentified
    return { ...identified, muxer: connection.multiplexer, encryption: connection.encryption }
  },
  async ping ({ address }) {
    return { ms: await node.services.ping.ping(multiaddr(address)) }
  },
  async opens ({ protocol }) {
    try {
      const stream = await connection.newStream(protocol)
      stream.abort(new Error('only asked'))
      return { opened: true }
    } catch (error) {
      return { opened: false, why: error.name }
    }
  },
  async say ({ text }) {
    const { recipients } = await node.services.pubsub.publish(topic, new TextEncoder().encode(text))
    return { recipients: recipients.length }
  },
  async hear () {
    while (heard.length === 0) await new Promise((resolve) => { onHeard = resolve })
    const [from, text] = heard.shift()
    return { from, text }
  },
  async listeners ({ least }) {
    while (node.services.pubsub.getSubscribers(topic).length < least) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return {}
  },
  async echo ({ size, idle_ms: idleMs }) {
    return await echo(size, idleMs ?? 0)
  },
  async knows ({ least }) {
    while (node.services.dht.routingTable.size < least) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return { peers: node.services.dht.routingTable.size }
  },
  async provide ({ key }) {
    const errors = []
    for await (const event of node.services.dht.provide(await cidOf(key))) {
      if (event.name === 'QUERY_ERROR') errors.push(String(event.error))
    }
    return { errors }
  },
  async find ({ key }) {
    const found = new Map()
    for await (const event of node.services.dht.findProviders(await cidOf(key))) {
      for (const one of event.providers ?? []) {
        found.set(one.id.toString(), one.multiaddrs.map(String))
      }
    }
    return { providers: Object.fromEntries(found) }
  },
  async closed () {
    while (!closed) await new Promise((resolve) => setTimeout(resolve, 20))
    return {}
  }
}

const answer = (what) => { process.stdout.write(JSON.stringify(what) + '\n') }
answer({ peer: node.peerId.toString(), node: process.version })
for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...rest } = JSON.parse(line)
  try {
    answer({ ok: true, ...await orders[order](rest) })
  } catch (error) {
    answer({ ok: false, error: `${error.name}: ${error.message}` })
  }
}
await node.stop()
process.exit(0)
