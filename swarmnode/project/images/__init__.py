"""Images as they are named by a project: where one lies, which it is, and for what machine.

An image is a whole system in layers. Its settings (a JSON document) name every layer, and it is
known by the digest of these settings, wherever it comes from: an archive, a layout, a registry.
What is read here was written by others: every document is typed and bounded, no layer is unpacked.
Source: https://github.com/opencontainers/image-spec, https://docs.docker.com/reference/cli/docker/image/save
"""
