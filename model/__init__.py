"""The Qwen2.5-Omni thinker as a streaming model: causal front end, chunk encoder, sequence embedding, incremental decoding."""
