"""What the four model fields share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models

from lightvec.django.forms import ValueFormField
from lightvec.errors import InvalidVector
from lightvec.types.columns import VectorLike, check_dimensions, column_value
from lightvec.types.value import read_value

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    Field = models.Field

__all__ = ["ValueField"]


class _EmptyValues(list[Any]):
    """For ``value in field.empty_values``, where a NumPy array would compare item by item."""

    def __contains__(self, value: object) -> bool:
        return (value is None or isinstance(value, str | list | tuple | dict)) and super().__contains__(value)


class ValueField(Field):
    """A column of one of pgvector's types, or of ``bit(n)``.

    A value that does not fit raises ``ValidationError`` where Django validates (``full_clean``, forms,
    fixtures) and :class:`~lightvec.errors.InvalidVector` where it saves or looks up; both name the field.
    """

    value_class: ClassVar[type[VectorLike]]
    column_type: ClassVar[str]
    form_class: ClassVar[type[ValueFormField]]
    #: The keyword that declares the size.
    size_keyword: ClassVar[str] = "dimensions"

    empty_strings_allowed = False
    empty_values = _EmptyValues(Field.empty_values)

    def __init__(self, *args: Any, dimensions: int | None = None, **kwargs: Any) -> None:
        self.dimensions = check_dimensions(dimensions)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[Any, Any, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        if self.dimensions is not None:
            kwargs[self.size_keyword] = self.dimensions
        for default in ("default", "db_default"):
            if isinstance(kwargs.get(default), VectorLike):
                kwargs[default] = kwargs[default].to_text()  # a migration can write texts only
        return name, path, args, kwargs

    def db_type(self, connection: Any) -> str:
        return self.column_type if self.dimensions is None else f"{self.column_type}({self.dimensions})"

    # Values

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """The value from a text, or from a registered driver's class."""
        return None if value is None else read_value(self.value_class, value)

    def to_python(self, value: Any) -> Any:
        """The value as the field's class; None for None and for an empty text."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            return self.read(value)
        except InvalidVector as error:
            raise ValidationError(str(error), code="invalid") from error

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        # The items of an array arrive here unconverted.
        super().validate(self.to_python(value), model_instance)

    def get_prep_value(self, value: Any) -> Any:
        """The text that is sent, by any driver."""
        value = super().get_prep_value(value)
        return None if value is None else self.read(value).wire_text()

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else str(self.read(value).to_text())

    def read(self, value: Any) -> Any:
        """The value as the field's class; :class:`~lightvec.errors.InvalidVector` names the field."""
        try:
            value = read_value(self.value_class, value)
        except InvalidVector as error:
            raise InvalidVector(f"{self._label}: {error}") from None
        return column_value(self.value_class, value, self.dimensions, self._label)

    @property
    def _label(self) -> str:
        """``Model.field``, or the class's name where there is no model."""
        model = getattr(self, "model", None)
        return type(self).__name__ if model is None else f"{model.__name__}.{self.name}"

    @property
    def _is_item(self) -> bool:
        """Whether the model's field is an array of this one."""
        model = getattr(self, "model", None)
        return model is not None and all(field is not self for field in model._meta.local_fields)

    def formfield(self, form_class: Any = None, choices_form_class: Any = None, **kwargs: Any) -> Any:
        if form_class is None:
            form_class = self.form_class
            kwargs = {"reader": self.read, "in_array": self._is_item, **kwargs}
        return super().formfield(form_class=form_class, choices_form_class=choices_form_class, **kwargs)
