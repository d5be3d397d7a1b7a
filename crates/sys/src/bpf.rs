//! Placeholder until the BPF calls land.
