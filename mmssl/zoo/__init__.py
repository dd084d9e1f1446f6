"""Published models: metafiles and the hub that finds them by name."""
