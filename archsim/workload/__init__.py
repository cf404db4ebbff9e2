"""What has to be computed: models, their operators and precision, and the requests that ask for them.

Nothing here knows a chip or a time. Read in this order:

    models          config, keys and families (a Hugging Face file to hyperparameters), model, latent, layers (kinds and
                    windows), exits, precision, tensors (weights and how ranks share them)
    operators       batch (what an iteration works on), operator, operators, attention, mlp
    experts         routing (which experts tokens go to), replication (copies of hot ones), expert_cache
    guesses         drafter, acceptance
    traces          request (a row), trace and stream (held or passing), closed_loop, decode_trace; readers with
                    schemas, text_rows, tables and cells; writers, transforms, statistics, public (downloads)
    drawn traces    sampler, sessions, servegen, draws (inverse distributions)
    graphs          chakra (execution traces of others), wire (protobuf)
"""

__all__: list[str] = []
