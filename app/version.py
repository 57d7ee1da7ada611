"""The version of the distribution, without reading package metadata (start-up counts)."""

VERSION = "0.1.0"
