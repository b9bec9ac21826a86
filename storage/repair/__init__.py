"""Lost shards come back by themselves."""
