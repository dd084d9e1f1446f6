"""Kinds of arguments with a range, for annotations: configs are checked against them.

A description says what to give; it stands in the error of a wrong value.
"""

from typing import Annotated, Any

from pydantic import Field

Count = Annotated[int, Field(ge=1, description='a whole number of at least 1')]
DropRate = Annotated[float, Field(ge=0, lt=1, description='a number from 0 to below 1')]
ScheduleSettings = Annotated[
    dict[str, Any], Field(description="a schedule, such as dict(start=0.99, shape='constant')")
]
