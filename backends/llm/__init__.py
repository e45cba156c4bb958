"""Chat models behind the OpenAI protocol."""
