//! mesh-sim
