"""How a build runs at scale: plan, execute, commit, resume, verify. The only room that knows Ray."""
