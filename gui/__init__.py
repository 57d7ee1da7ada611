"""The window: state, feed and panels."""
