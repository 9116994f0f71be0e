"""The messages of the domain as Pydantic models, with the rules that the Rust contract has."""

from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Optional, Union

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
NO_DAY = date(1970, 1, 1)


class Message(BaseModel):
    table: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    ts: Optional[AwareDatetime] = None


class Maestro(Message):
    table = "maestros_upsert"
    columns = ("id_maestro", "nombre", "especialidad")

    entity: Literal["maestro"]
    id_maestro: Number
    nombre: Name
    especialidad: Optional[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = None


class Materia(Message):
    table = "materias_upsert"
    columns = ("id_materia", "nombre", "creditos")

    entity: Literal["materia"]
    id_materia: Number
    nombre: Name
    creditos: Annotated[int, Field(ge=1, le=1000)]


class Grupo(Message):
    table = "grupos_upsert"
    columns = ("id_grupo", "id_materia", "id_maestro", "periodo", "fecha_inicio")

    entity: Literal["grupo"]
    id_grupo: Number
    id_materia: Number
    id_maestro: Number
    periodo: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}[AB]$")]
    fecha_inicio: Optional[date] = None


class Alumno(Message):
    table = "alumnos_upsert"
    columns = ("id_alumno", "nombre", "edad", "genero")

    entity: Literal["alumno"]
    id_alumno: Number
    nombre: Name
    edad: Annotated[int, Field(ge=1, le=120)]
    genero: Literal["M", "F"]


class Inscripcion(Message):
    table = "inscripciones_event"
    columns = ("id_alumno", "id_grupo", "fecha_inscripcion")

    entity: Literal["inscripcion"]
    id_alumno: Number
    id_grupo: Number
    fecha_inscripcion: Optional[date] = None


class Calificacion(Message):
    table = "calificaciones_event"
    columns = ("id_alumno", "id_grupo", "calificacion", "fecha_registro")

    entity: Literal["calificacion"]
    id_alumno: Number
    id_grupo: Number
    calificacion: Annotated[Decimal, Field(ge=0, le=10, decimal_places=2)]
    fecha_registro: Optional[date] = None


KINDS: dict[str, type[Message]] = {
    kind.__name__.lower(): kind
    for kind in (Maestro, Materia, Grupo, Alumno, Inscripcion, Calificacion)
}

AnyMessage = Annotated[
    Union[Maestro, Materia, Grupo, Alumno, Inscripcion, Calificacion],
    Field(discriminator="entity"),
]


def day_of(millis: int) -> date:
    """The day inside an id of version 7: staging is partitioned by it."""
    return datetime.fromtimestamp(millis / 1000, timezone.utc).date()
