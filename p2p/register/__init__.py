"""The register kept, spread and acted upon: whoever is out loses its connections."""
