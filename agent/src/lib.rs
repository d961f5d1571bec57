//! The Homeport agent.
