"""Images of a registry: named as `docker://HOST/NAME:TAG`, found, and brought as a layout.

A registry is asked over HTTPS for documents and layers, each by its digest; what comes is checked
against that, so it is not trusted with more than to say what a tag means today. Nothing is written
into it. This person's logins are those of docker's configuration, and go to the registry that they
are for and to who gives tokens for it, nowhere else.
Source: https://github.com/opencontainers/distribution-spec, https://distribution.github.io/distribution/spec/auth/token/
"""
