"""What the promise means, one noun a file; each rule yields a sentence for each violation."""
