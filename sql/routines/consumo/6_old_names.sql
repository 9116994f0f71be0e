-- Functions under the names of earlier releases. All files are applied in one transaction: a merge that runs across
-- its commit fails once and is repeated with the new names.

drop function if exists consumo.juzgar_original(text[], timestamptz[], timestamptz[], date[], date[]);
drop function if exists consumo.juzgar_original(text[], timestamptz[], timestamptz[], date[]);
drop function if exists consumo.juzgar_estacional(text[], date[]);
drop function if exists consumo.juzgar(text[], timestamptz[], integer[], smallint[]);
drop function if exists consumo.mudar(text[]);
drop function if exists consumo.anotar(text, text[], timestamptz[], timestamptz[], consumo.anomalias[]);
drop function if exists consumo.guardar_dias(text[], timestamptz[], integer[], smallint[]);
drop function if exists consumo.formar_bases(text[], date[]);
drop function if exists consumo.completar_bases(text[], date[]);
drop function if exists consumo.meses(timestamptz[]);
