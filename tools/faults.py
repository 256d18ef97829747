"""What a person can do about it when a tool gets no answer of a stack."""

from __future__ import annotations

from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

NOT_LOGGED_IN = (NoCredentialsError, PartialCredentialsError, ProfileNotFound, SSOError, TokenRetrievalError)
OLD_KEYS = {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
LOCAL = 'For the local cloud: eval "$(make -s env)", and STACK=tidegate-local.'


def code_of(fault: Exception) -> str:
    return str(fault.response["Error"]["Code"]) if isinstance(fault, ClientError) else ""


def advice(fault: Exception, stack: str, needs: str) -> str:
    """What was wrong, and what to do; `needs` is what the tool may have been refused."""
    said = (fault.response["Error"]["Message"] if isinstance(fault, ClientError) else str(fault)).strip().rstrip(".")
    if isinstance(fault, NOT_LOGGED_IN) or code_of(fault) in OLD_KEYS:
        return f"{stack} was not asked, for want of credentials ({said}). {LOCAL} For AWS: log in, and set AWS_REGION."
    if isinstance(fault, NoRegionError):
        return f"{stack} was not asked, for nothing says in which region it is. {LOCAL} For AWS: set AWS_REGION."
    if isinstance(fault, EndpointConnectionError):
        return f'Nothing answers: {said}. If it is the local cloud: make up, then eval "$(make -s env)" again.'
    if code_of(fault) == "ValidationError":
        return f"{said}. Say which stack of Tidegate: STACK=tidegate-prod. {LOCAL}"
    return f"{stack} did not answer as it should: {said}. May you {needs}?"
