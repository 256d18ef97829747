from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.aws import Aws
from local.emulator.task_ends import draining_together
from local.prices import HOURLY, spot_prices


@pytest.fixture
def template(aws: Aws) -> str:
    ec2 = aws.client("ec2")
    made = ec2.create_launch_template(LaunchTemplateName=uuid.uuid4().hex, LaunchTemplateData={"ImageId": "ami-1"})
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def fleet(ec2: Any, template: str, token: str = "", run: str = "r1", capacity: str = "spot", **override: str) -> Any:
    spec = {"LaunchTemplateId": template, "Version": "$Latest"}
    wanted = {"InstanceType": "c6i.large", **override}
    return ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": spec, "Overrides": [wanted]}],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": capacity},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "tidegate:run", "Value": run}]}],
        **({"ClientToken": token} if token else {}),
    )


def machine(ec2: Any, made: Any) -> Any:
    ids = made["Instances"][0]["InstanceIds"]
    return ec2.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"][0]


def tags(instance: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def count(ec2: Any) -> int:
    return sum(len(group["Instances"]) for group in ec2.describe_instances()["Reservations"])


def test_the_same_token_and_request_give_the_same_machine(aws: Aws, template: str) -> None:
    ec2, token = aws.client("ec2"), uuid.uuid4().hex
    first = fleet(ec2, template, token)
    before = count(ec2)
    again = fleet(ec2, template, token)
    assert (again["FleetId"], again["Instances"]) == (first["FleetId"], first["Instances"])
    assert count(ec2) == before


def test_the_same_token_with_another_request_is_refused(aws: Aws, template: str) -> None:
    ec2, token = aws.client("ec2"), uuid.uuid4().hex
    fleet(ec2, template, token)
    with pytest.raises(ClientError) as refused:
        fleet(ec2, template, token, run="r2")
    assert refused.value.response["Error"]["Code"] == "IdempotentParameterMismatch"


def test_without_a_token_each_request_makes_a_machine(aws: Aws, template: str) -> None:
    ec2 = aws.client("ec2")
    assert fleet(ec2, template)["FleetId"] != fleet(ec2, template)["FleetId"]


def test_a_refused_request_does_not_use_the_token_up(aws: Aws, template: str) -> None:
    ec2, token = aws.client("ec2"), uuid.uuid4().hex
    with pytest.raises(ClientError):
        fleet(ec2, "lt-none", token)
    assert fleet(ec2, template, token)["Instances"]


def test_machines_are_found_by_their_id(aws: Aws, template: str) -> None:
    ec2 = aws.client("ec2")
    one, other = machine(ec2, fleet(ec2, template)), machine(ec2, fleet(ec2, template))
    for wanted in (one, other):
        asked = [{"Name": "instance-id", "Values": [wanted["InstanceId"]]}]
        [group] = ec2.describe_instances(Filters=asked)["Reservations"]
        assert [found["InstanceId"] for found in group["Instances"]] == [wanted["InstanceId"]]


def test_a_machine_carries_the_tags_that_aws_gives_it(aws: Aws, template: str) -> None:
    ec2 = aws.client("ec2")
    made = fleet(ec2, template)
    assert tags(machine(ec2, made)) == {
        "tidegate:run": "r1",
        "aws:ec2:fleet-id": made["FleetId"],
        "aws:ec2launchtemplate:id": template,
        "aws:ec2launchtemplate:version": "1",
    }


def test_a_spot_machine_says_so_and_another_does_not(aws: Aws, template: str) -> None:
    ec2 = aws.client("ec2")
    assert machine(ec2, fleet(ec2, template))["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in machine(ec2, fleet(ec2, template, capacity="on-demand"))


def test_a_machine_is_in_the_zone_of_its_subnet(aws: Aws, template: str) -> None:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone="us-east-1c")["Subnet"]["SubnetId"]
    assert machine(ec2, fleet(ec2, template, SubnetId=subnet))["Placement"]["AvailabilityZone"] == "us-east-1c"


def test_spot_prices_are_told_for_what_was_asked(aws: Aws) -> None:
    found = aws.client("ec2").describe_spot_price_history(
        InstanceTypes=["c6i.large", "m5.large", "z9.metal"], ProductDescriptions=["Linux/UNIX"]
    )["SpotPriceHistory"]
    assert {(price["InstanceType"], price["AvailabilityZone"]) for price in found} == {
        (kind, f"us-east-1{zone}") for kind in ("c6i.large", "m5.large") for zone in "abc"
    }
    assert all(0 < float(price["SpotPrice"]) < HOURLY[price["InstanceType"]][1] for price in found)


def test_spot_prices_can_be_filtered_by_zone_and_product(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    by_zone = [{"Name": "availability-zone", "Values": ["us-east-1b"]}]
    found = ec2.describe_spot_price_history(InstanceTypes=["c6i.large"], Filters=by_zone)["SpotPriceHistory"]
    assert [price["AvailabilityZone"] for price in found] == ["us-east-1b"]
    assert ec2.describe_spot_price_history(ProductDescriptions=["Windows"])["SpotPriceHistory"] == []


def test_every_spot_price_is_below_on_demand() -> None:
    for price in spot_prices("us-east-1", datetime(2026, 1, 1, tzinfo=UTC)):
        assert float(price.price) < HOURLY[price.instance_type][1]


def test_what_was_added_is_held_to_iam_as_all_else_is(aws: Aws, template: str) -> None:
    """A role that may see prices and nothing else."""
    iam, name = aws.client("iam"), uuid.uuid4().hex
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    sees = {"Statement": [{"Effect": "Allow", "Action": "ec2:DescribeSpotPriceHistory", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="sees", PolicyDocument=json.dumps(sees))
    key = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    ec2: Any = boto3.client(
        "ec2", endpoint_url=aws.endpoint, region_name=aws.region, aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key["SessionToken"],
    )  # fmt: skip
    assert ec2.describe_spot_price_history(InstanceTypes=["c6i.large"])["SpotPriceHistory"]
    with pytest.raises(ClientError) as refused:
        fleet(ec2, template)
    assert refused.value.response["Error"]["Code"] == "UnauthorizedOperation"
    iam.delete_role_policy(RoleName=name, PolicyName="sees")
    with pytest.raises(ClientError) as refused:
        ec2.describe_spot_price_history(InstanceTypes=["c6i.large"])
    assert "ec2:DescribeSpotPriceHistory" in str(refused.value)


def test_an_alarm_on_metric_math_can_be_deployed_described_and_set(aws: Aws) -> None:
    name = f"share-{uuid.uuid4().hex[:8]}"
    metric = {"Namespace": "Small", "MetricName": "Errors", "Dimensions": [{"Name": "Service", "Value": "small"}]}
    metrics = [
        {"Id": "share", "Expression": "100 * errors", "Label": "share", "ReturnData": True},
        {"Id": "errors", "ReturnData": False, "MetricStat": {"Stat": "Sum", "Period": 60, "Metric": metric}},
    ]
    properties = {
        "AlarmName": name, "Metrics": metrics, "EvaluationPeriods": 1, "Threshold": 5,
        "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    template = {"Resources": {"Share": {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}}}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    cloudwatch = aws.client("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="tried")
    alarm = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
    assert (alarm["StateValue"], alarm["Metrics"]) == ("ALARM", metrics)
    assert "MetricName" not in alarm


def test_public_parameters_can_be_put_and_other_reserved_names_cannot(aws: Aws) -> None:
    ssm = aws.client("ssm")
    ssm.put_parameter(Name="/aws/service/some/ami-id", Value="ami-1", Type="String", Overwrite=True)
    assert ssm.get_parameter(Name="/aws/service/some/ami-id")["Parameter"]["Value"] == "ami-1"
    with pytest.raises(ClientError):
        ssm.put_parameter(Name="/aws/other", Value="x", Type="String")


def test_only_tasks_of_a_completed_deployments_predecessor_drain_together() -> None:
    stopped: list[str] = []
    apart: list[Any] = []

    def later(does: Any, asked: dict[str, str], *, thread_name: str) -> None:
        apart.append((thread_name, lambda: does(asked)))

    stop = draining_together(lambda asked: stopped.append(asked["task"]), later)
    stop({"task": "old", "reason": "Deployment completed"})
    stop({"task": "superfluous", "reason": "Service scaling down"})
    assert stopped == ["superfluous"]
    [(name, drain)] = apart
    drain()
    assert stopped == ["superfluous", "old"] and name
