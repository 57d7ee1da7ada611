"""One network a file, each reading like its paper."""
