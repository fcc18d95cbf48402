//! Tests of the joint task and of its probes.
mod probe;
mod task;
