"""The `openai` engine: any endpoint that speaks OpenAI's chat completions."""
