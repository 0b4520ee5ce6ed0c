"""The two CodeWM papers as recipes: what they wrote and what their code did, trainable and comparable."""
