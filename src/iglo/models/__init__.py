"""The generator, the encoder, the codes and the model that holds them."""
