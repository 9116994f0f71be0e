-- demo: consumo --clients 30 --days 45 --start 45d --suspicious 20 --profile realistic --seed 1 --invalid 0.5 --duplicates 1
\echo
\echo 'Clients with anomalies (marts.consumo_top_clientes)'
select propietario_id, nombre, total_anomalias, anomalias_criticas, max_score from marts.consumo_top_clientes limit 5;
\echo 'Consumption of the last full month (marts.consumo_mensual)'
select propietario_id, mes_str, consumo_total, consumo_noche_promedio, consumo_punta_promedio, anomalias_detectadas
from marts.consumo_mensual where mes = (select max(mes) from marts.consumo_mensual) order by consumo_total desc limit 5;
\echo 'What was to be found, and what was found (marts.consumo_deteccion)'
select modo, tipo, esperados, hallados, recall, dias_marcados, precision, tasa_falsas from marts.consumo_deteccion;
