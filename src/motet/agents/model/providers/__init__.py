"""The services that answer for models. Each module imports its SDK when it is first used."""
