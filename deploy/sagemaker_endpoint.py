"""Serve a bundle from an Amazon SageMaker endpoint, with the image of `deploy/Dockerfile`.

    pip install boto3
    python deploy/sagemaker_endpoint.py BUNDLE --name NAME --image URI --role ARN --bucket BUCKET

An example: the calls have been checked against boto3's description of the services, and have not been run in AWS.
SageMaker unpacks model.tar.gz into /opt/ml/model, runs `docker run IMAGE serve`, and asks port 8080 for GET /ping and
POST /invocations. It knows nothing of keys: callers are checked by AWS.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.client import BaseClient

ENVIRONMENT = {"JINABERT_ONNX_MODEL": "/opt/ml/model"}


def write_model_archive(bundle: Path, archive: Path) -> None:
    """The files of `bundle` as a model.tar.gz, without a directory above them."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:  # weights hardly get smaller
        for path in sorted(bundle.iterdir()):
            tar.add(path, arcname=path.name)


def upload_model(s3: BaseClient, bundle: Path, bucket: str, key: str) -> str:
    """Put the bundle's archive into S3 and return its URL."""
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "model.tar.gz"
        write_model_archive(bundle, archive)
        s3.upload_file(str(archive), bucket, key)
    return f"s3://{bucket}/{key}"


def create_endpoint(sagemaker: BaseClient, name: str, image: str, role: str, model_url: str, instance: str) -> None:
    """Create the model, the configuration and the endpoint, all called `name`; it is ready some minutes later."""
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=role,
        PrimaryContainer={"Image": image, "ModelDataUrl": model_url, "Environment": ENVIRONMENT},
        EnableNetworkIsolation=True,  # the server asks for nothing outside
    )
    variant = {
        "VariantName": "all",
        "ModelName": name,
        "InstanceType": instance,
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


def main() -> None:
    """Upload, create, and wait until the endpoint is in service."""
    import boto3

    parser = argparse.ArgumentParser(description="Serve a bundle from a SageMaker endpoint.")
    parser.add_argument("bundle", type=Path, help="directory of the bundle")
    parser.add_argument("--name", required=True, help="of the model and of the endpoint")
    parser.add_argument("--image", required=True, help="the image's URI in ECR")
    parser.add_argument("--role", required=True, help="ARN of a role that may read the image and the bucket")
    parser.add_argument("--bucket", required=True, help="where model.tar.gz is put")
    parser.add_argument("--instance", default="ml.c7i.large", help="instance type (default: %(default)s)")
    arguments = parser.parse_args()
    model_url = upload_model(boto3.client("s3"), arguments.bundle, arguments.bucket, f"{arguments.name}/model.tar.gz")
    sagemaker = boto3.client("sagemaker")
    create_endpoint(sagemaker, arguments.name, arguments.image, arguments.role, model_url, arguments.instance)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=arguments.name)


if __name__ == "__main__":
    main()
