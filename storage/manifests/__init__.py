"""What an object is made of, and the capability that lets somebody read it."""
