import json
import os
from typing import Any

import boto3


def handler(event: dict[str, Any], _context: object) -> None:
    for record in event["Records"]:
        body = json.loads(record["body"])
        key = f"{body['detail-type']}/{body['id']}"
        boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key=f"allowed/{key}", Body=record["body"].encode())
