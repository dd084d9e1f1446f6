"""Look inside a network: attention, correspondence, patches, embeddings, views."""
