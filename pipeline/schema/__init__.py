"""The slab: records, messages, errors and clocks that everything else stands on."""
