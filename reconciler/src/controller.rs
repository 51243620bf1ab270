//! The conditions of the objects, and what an Import is made of: Services, EndpointSlices, ports.
