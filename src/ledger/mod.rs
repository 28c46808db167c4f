//! The effect ledger: whatever leaves the machine or outlives its job is written down before it is done.
