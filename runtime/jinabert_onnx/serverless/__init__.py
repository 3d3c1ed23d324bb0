"""Embeddings from AWS Lambda: the handler, and the zip file that it is deployed as. Needs the extra `serverless`.

event ──events──▶ Call ──function (api, one model)──▶ Answer ──events──▶ what the sender of the event reads

`aws_lambda` is what Lambda imports, and loads the model once for all calls. `lambda_zip` puts it, the `installed`
packages that it needs and a bundle into one file.
"""
