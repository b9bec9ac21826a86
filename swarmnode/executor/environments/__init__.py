"""What a task may ask to find in its sandbox besides the machine's own programs.

Three kinds, told apart by their names. `NAME` is a folder of this machine's configuration: `named`.
`@ID` is an environment that was built once for the pool: its object is brought here once, laid out
in a store of files that all of them share, and shown at /env: `store`, `arrivals`. `build:3.11`
lets a task build one around this machine's CPython 3.11, `build:image` from an OCI image:
`building`, and `recipe`, which runs in the sandbox; `image` shows the latter as the task's system.
`catalogue` knows all three.
"""
