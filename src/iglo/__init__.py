"""iglo: image generators by incremental generative latent optimization."""
