"""archsim: where an accelerator's memory bandwidth goes when it decodes real LLM traffic."""
