"""The generated code of the `motet.v1` contract, shared by server and clients. Nothing here is edited by hand."""
