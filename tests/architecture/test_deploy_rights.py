"""CloudFormation's handlers of the template's resources call nothing that pipeline.yaml's service role may not.

What a handler calls is in AWS's schema of its resource (`handlers.<operation>.permissions`), which cfn-lint brings:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
On which resource it acts is in the Service Authorization Reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import cfnlint
import pytest
from boto3.session import Session
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from tests.architecture.cloudformation import ROOT, listed
from tools.cloudformation import template

SCHEMAS = Path(cfnlint.__file__).parent / "data" / "schemas" / "resources"
PLACE = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "111122223333", "Stack": "tidegate-dev"}
AT = "eu-west-1:111122223333"
NAMED = {  # what of the stack is meant by a type, or by an action on another thing than its type
    "AWS::ApplicationAutoScaling": f"arn:aws:application-autoscaling:{AT}:scalable-target/0a1b",
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{AT}:alarm:tidegate-dev-errors-high",
    "AWS::CloudWatch::Dashboard": "arn:aws:cloudwatch::111122223333:dashboard/tidegate-dev",
    "AWS::DynamoDB": f"arn:aws:dynamodb:{AT}:table/tidegate-dev-LedgerTable-1A",
    "AWS::EC2": f"arn:aws:ec2:{AT}:thing/thing-0a1b",
    "AWS::ECR": f"arn:aws:ecr:{AT}:repository/tidegate-dev/inference",
    "AWS::ECS::Cluster": f"arn:aws:ecs:{AT}:cluster/tidegate-dev-Cluster-1A",
    "AWS::ECS::Service": f"arn:aws:ecs:{AT}:service/tidegate-dev-Cluster-1A/tidegate-dev-InferenceService-2B",
    "AWS::ECS::TaskDefinition": f"arn:aws:ecs:{AT}:task-definition/tidegate-dev-inference:7",
    "AWS::ElasticLoadBalancingV2": f"arn:aws:elasticloadbalancing:{AT}:targetgroup/tideg-Targe-1A/2b",
    "AWS::Events": f"arn:aws:events:{AT}:rule/tidegate-dev-DropRule-1A",
    "AWS::IAM::InstanceProfile": "arn:aws:iam::111122223333:instance-profile/tidegate-dev-MachineProfile-1A",
    "AWS::IAM::ManagedPolicy": "arn:aws:iam::111122223333:policy/tidegate-dev-RollService-1A",
    "AWS::IAM": "arn:aws:iam::111122223333:role/tidegate-dev-TaskRole-1A",
    "AWS::Lambda::EventSourceMapping": f"arn:aws:lambda:{AT}:event-source-mapping:0a1b",
    "AWS::Lambda::LayerVersion": f"arn:aws:lambda:{AT}:layer:tidegate-dev-trainer:3",
    "AWS::Lambda": f"arn:aws:lambda:{AT}:function:tidegate-dev-OnDataDropped-1A",
    "AWS::Logs": f"arn:aws:logs:{AT}:log-group:/tidegate/tidegate-dev/control-plane",
    "AWS::S3": "arn:aws:s3:::tidegate-dev-bucket-1a",
    "AWS::SNS": f"arn:aws:sns:{AT}:tidegate-dev-AlertsTopic-1A",
    "AWS::SQS": f"arn:aws:sqs:{AT}:tidegate-dev-IngestQueue-1A",
    "AWS::Scheduler::ScheduleGroup": f"arn:aws:scheduler:{AT}:schedule-group/tidegate-dev-machines",
    "AWS::Scheduler": f"arn:aws:scheduler:{AT}:schedule/default/tidegate-dev-reconcile",
    "Custom": f"arn:aws:lambda:{AT}:function:tidegate-dev-OnStackDeploying-1A",
    "iam:*RolePolicy": "arn:aws:iam::111122223333:role/tidegate-dev-TaskRole-1A",
    "iam:*Role": "arn:aws:iam::111122223333:role/tidegate-dev-TaskRole-1A",
    "iam:CreateServiceLinkedRole": "arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/RoleForECS",
    "cloudwatch:*Alarm*": f"arn:aws:cloudwatch:{AT}:alarm:tidegate-dev-cpu-high",
    "lambda:GetLayerVersion": f"arn:aws:lambda:{AT}:layer:tidegate-dev-trainer:3",
    "s3:GetObject*": "arn:aws:s3:::ci-tidegate-dev-artifactbucket-1a/tidegate-dev/0a1b",
    "scheduler:DeleteSchedule": f"arn:aws:scheduler:{AT}:schedule/tidegate-dev-machines/0a1b-1",
}
DEPLOYMENT = f"arn:aws:ecs:{AT}:service-deployment/tidegate-dev-Cluster-1A/tidegate-dev-InferenceService-2B/3c"
ALSO = {  # actions that are allowed only where a second resource is too
    "ecs:DescribeServiceDeployments": DEPLOYMENT,
    "ecs:StopServiceDeployment": DEPLOYMENT,
}
NO_RESOURCE = {  # the reference names no resource for them, so they need "*"
    "application-autoscaling:Describe*",
    "cloudwatch:GetMetricData",
    "ec2:Describe*",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "elasticloadbalancing:Describe*",
    "lambda:CreateEventSourceMapping",
    "logs:DescribeIndexPolicies",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
}
LEFT_OUT = {  # what handlers call for what the template does not have, and what the role must never do
    "kms:*": "nothing is encrypted with a key of a customer's own",
    "kinesis:*": "the table streams to nobody",
    "firehose:*": "logs are delivered to nobody",
    "s3tables:*": "the bucket keeps no metadata tables",
    "s3files:*": "functions mount no file system",
    "elasticfilesystem:*": "functions mount no file system",
    "cognito-idp:*": "the listeners ask nobody who they are",
    "vpc-lattice:*": "the endpoint is a gateway to S3",
    "vpce:*": "the endpoint is a gateway to S3",
    "iam:*GroupPolicy": "the stack has roles alone",
    "iam:*UserPolicy": "the stack has roles alone",
    "iam:DeleteRolePermissionsBoundary": "no role may lose its boundary",
    "dynamodb:*Item": "items are people's; only imports and replicas write them",
    "dynamodb:Query": "items are people's; only imports and replicas read them",
    "dynamodb:Scan": "items are people's; only imports and replicas read them",
    "AWS::DynamoDB::Table logs:*": "only an import from S3 writes logs",
    "AWS::DynamoDB::Table s3:*": "the table is not imported from S3",
    "AWS::DynamoDB::Table iam:CreateServiceLinkedRole": "only replicas want a role",
    "AWS::ApplicationAutoScaling::ScalableTarget lambda:*": "tasks are scaled, not functions",
    "s3:DeleteObject": "objects are people's",
    "s3:PutObjectAcl": "the bucket has no access lists",
    "AWS::S3::Bucket iam:PassRole": "the bucket is replicated to no other",
    "s3:REST.PUT.OBJECT": "no action of IAM",
    "ecs:PutAccountSetting*": "the account's settings are no stack's",
    "lambda:*CodeSigningConfig": "code is not signed",
    "lambda:PassCapacityProvider": "functions run where Lambda says",
    "logs:CreateLogDelivery": "logs are delivered to nobody",
    "logs:*IndexPolicy": "log groups have no index",
    "logs:PutResourcePolicy": "of the account, not of a log group",
    "logs:DeleteResourcePolicy": "of the account, not of a log group",
    "ec2:*SubnetCidrBlock": "subnets have IPv4 alone",
    "ec2:*VpnGateway": "there is no VPN",
    "ec2:CreateVpcEncryptionControl": "traffic within the network is not controlled",
    "ec2:ModifyVpcTenancy": "of the network it is the default",
}


@cache
def schemas() -> dict[str, Any]:
    read = (json.loads(path.read_text()) for path in SCHEMAS.glob("*.json"))
    return {schema["typeName"]: schema for schema in read if "typeName" in schema}


@cache
def types() -> list[str]:
    """What CloudFormation makes; of SAM's types, what SAM's translator makes of them."""
    told = template()
    told["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    told["Resources"]["TrainerCode"]["Properties"]["ContentUri"] = "s3://bucket/key"
    given = {name: str(one["Default"]) for name, one in told["Parameters"].items()}
    made = Translator({}, Parser(), boto_session=Session(region_name="eu-west-1")).translate(told, given)
    return sorted({str(resource["Type"]) for resource in made["Resources"].values()})


def called(kind: str) -> list[str]:
    """What CloudFormation calls to create, read, update and delete one of the kind; a custom resource's function."""
    if kind.startswith("Custom::"):
        return ["lambda:InvokeFunction"]
    handlers = schemas()[kind]["handlers"]
    doing = [handlers.get(step, {}).get("permissions", []) for step in ("create", "read", "update", "delete")]
    return sorted({action.replace("S3:", "s3:") for actions in doing for action in actions})


def filled(value: Any) -> str:
    text = value["Fn::Sub"] if isinstance(value, dict) else str(value)
    text = text.replace("${ArtifactBucket.Arn}", "arn:aws:s3:::ci-tidegate-dev-artifactbucket-1a")
    return re.sub(r"\$\{([^}]+)\}", lambda found: PLACE[found[1]], text)


@cache
def rules() -> list[tuple[list[str], list[str]]]:
    role = template(ROOT / "pipeline.yaml")["Resources"]["DeployServiceRole"]["Properties"]
    statements = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
    return [
        (listed(s["Action"]), [filled(one) for one in listed(s["Resource"])])
        for s in statements
        if s["Effect"] == "Allow" and "Ref" not in s["Resource"] and "Fn::GetAtt" not in s["Resource"]
    ]


def matched(action: str, patterns: Iterable[str]) -> list[str]:
    return [pattern for pattern in patterns if fnmatchcase(action.lower(), pattern.lower())]


def left_out(kind: str, action: str) -> list[str]:
    return matched(action, LEFT_OUT) or matched(f"{kind} {action}", LEFT_OUT)


def wanted(kind: str, action: str) -> set[str]:
    """On which resources the role must be allowed the action; all of them."""
    if matched(action, NO_RESOURCE):
        return {"*"}
    closest = sorted(NAMED, key=len, reverse=True)
    named = [NAMED[name] for name in [*matched(action, closest), *filter(kind.startswith, closest)]]
    return {named[0], ALSO.get(action, named[0])}


def allowed(action: str, resource: str) -> bool:
    return any(
        matched(action, actions) and any(fnmatchcase(resource, pattern) for pattern in resources)
        for actions, resources in rules()
    )


@pytest.mark.parametrize("kind", types())
def test_the_service_role_may_do_what_cloudformation_does_to_make_change_and_remove_it(kind: str) -> None:
    actions = [action for action in called(kind) if not left_out(kind, action)]
    assert actions
    refused = [(a, r) for a in actions for r in sorted(wanted(kind, a)) if not allowed(a, r)]
    assert refused == []


def test_what_is_left_out_is_called_by_something() -> None:
    pairs = [(kind, action) for kind in types() for action in called(kind)]
    assert set(LEFT_OUT) == {pattern for kind, action in pairs for pattern in left_out(kind, action)}


def test_a_deployment_of_the_service_is_a_resource_of_its_own() -> None:
    """Without it ECS refuses CloudFormation at the first look: the service could not be created."""
    assert {"ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment"} <= set(called("AWS::ECS::Service"))
    assert len(wanted("AWS::ECS::Service", "ecs:DescribeServiceDeployments")) == 2
