"""Events to pictures that people keep: styles, rhythm, captions, and the files that pictures go into. Knows no network."""
