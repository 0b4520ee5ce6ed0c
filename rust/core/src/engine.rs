//! Model file in, encoders and predictor out.
