"""What writes memory: engines that turn the agent's prompt into tool calls, behind one contract."""
