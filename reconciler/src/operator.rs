//! Instances to what they are made of: Deployments, Services, access to the API.
