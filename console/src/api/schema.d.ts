// Made from api/openapi.json by `npm run api`.

export interface paths {
    "/": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Which program answers; the console, for a browser */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Name and version, or the page of the console where Accept asks for text/html */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Root"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/anomalias/%C3%BAltimas": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same as `/api/anomalias/ultimas`, by the path of the reference system */
        get: {
            parameters: {
                query?: {
                    /** @description Most of them, 1 to 1000; 50 when not given */
                    limit?: number;
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                    /** @description `media`, `alta` or `crítica`, also as `critica`; all when not given */
                    severidad?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The anomalies */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoAnomalia"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/anomalias/cliente/{propietario_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Anomalies of a client in the last days, the newest first */
        get: {
            parameters: {
                query?: {
                    /** @description Days before now, 1 to 90; 7 when not given */
                    dias?: number;
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path: {
                    /** @description Client */
                    propietario_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The anomalies */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoAnomalia"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/anomalias/cr%C3%ADticas": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same as `/api/anomalias/criticas`, by the path of the reference system */
        get: {
            parameters: {
                query?: {
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The anomalies */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoAnomalia"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/anomalias/criticas": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Critical anomalies of the last 24 hours, the highest score first, at most 100 */
        get: {
            parameters: {
                query?: {
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The anomalies */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoAnomalia"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/anomalias/ultimas": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The latest anomalies of all clients */
        get: {
            parameters: {
                query?: {
                    /** @description Most of them, 1 to 1000; 50 when not given */
                    limit?: number;
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                    /** @description `media`, `alta` or `crítica`, also as `critica`; all when not given */
                    severidad?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The anomalies */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoAnomalia"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/consumos/%C3%BAltimas24h/{propietario_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same as `/api/consumos/ultimas24h/{propietario_id}`, by the path of the reference system */
        get: {
            parameters: {
                query?: {
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path: {
                    /** @description Client */
                    propietario_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The hours */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoLectura"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/consumos/mensuales/{propietario_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The months of a client in a year, in their order */
        get: {
            parameters: {
                query?: {
                    /** @description The same in ASCII */
                    anio?: number;
                    /** @description Year, 2000 to 2099; the present one (UTC) when not given */
                    "a\u00F1o"?: number;
                };
                header?: never;
                path: {
                    /** @description Client */
                    propietario_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The months */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoMes"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/consumos/rango": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A client's hours in a range, the oldest first
         * @description Both ends are included; a date is the whole day. Times without an offset are by the client's clock. At most 366 days.
         */
        get: {
            parameters: {
                query: {
                    /** @description Last hour: as fecha_inicio */
                    fecha_fin: string;
                    /** @description First hour: a date, or a time with or without an offset */
                    fecha_inicio: string;
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                    /** @description Client */
                    propietario_id: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The hours */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoLectura"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/consumos/ultimas24h/{propietario_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A client's hours of the last 24 hours, the newest first
         * @description The 24 hours before now, by the database's clock. `not_found` when there is none.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path: {
                    /** @description Client */
                    propietario_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The hours */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoLectura"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/comparativa-mensual": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The clients beside each other in a month, the greatest consumption first */
        get: {
            parameters: {
                query?: {
                    /** @description Most clients, 1 to 10000; 1000 when not given. The totals are of all */
                    limit?: number;
                    /** @description Month as 2024-06; the present one (UTC) when not given */
                    mes?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The clients */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoComparativa"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/top-anomalias": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Clients with the most anomalies over all time, the most critical first */
        get: {
            parameters: {
                query?: {
                    /** @description Most of them, 1 to 100; 10 when not given */
                    limit?: number;
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The clients */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoTop"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/estadisticas/cliente/{propietario_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A client in the last 24 hours */
        get: {
            parameters: {
                query?: {
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path: {
                    /** @description Client */
                    propietario_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The figures */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoEstadisticas"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/estadisticas/mensual/{propietario_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A month of a client */
        get: {
            parameters: {
                query?: {
                    /** @description Month as 2024-06; the present one (UTC) when not given */
                    mes?: string;
                };
                header?: never;
                path: {
                    /** @description Client */
                    propietario_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The month */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoMes"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/estadisticas/resumen": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Anomalies of all clients in the last hours */
        get: {
            parameters: {
                query?: {
                    /** @description Hours before now, 1 to 720; 24 when not given */
                    horas?: number;
                    /** @description Way of judging: `original` or `estacional`; that of the marts when not given */
                    modo?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The counts */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoResumen"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/generar/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a day of some clients and send its readings
         * @description They are checked by their contract and sent to the exchange; the answer comes once a queue has them on disk. A day that was
         *     sent before changes nothing.
         */
        post: {
            parameters: {
                query?: {
                    /** @description Day that is over, as 2024-06-10; yesterday (UTC) when not given */
                    fecha?: string;
                    /** @description Clients, 1 to 399; 10 when not given */
                    num_clientes?: number;
                    /** @description Those of them of whom there is something to be found; 2 when not given */
                    num_sospechosos?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description What was sent */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoDias"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/generar/cliente/{propietario_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A day of a made-up client
         * @description Nothing is sent. The day is yesterday (UTC) on the clock of Madrid, and the same at each call.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Whether there is to be something to be found */
                    es_sospechoso?: boolean;
                };
                header?: never;
                path: {
                    /** @description Client, as CLI_00001; it need not be known */
                    propietario_id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The day */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoDia"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/generar/todos": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A day of 50 made-up clients, the last five of them suspicious
         * @description Nothing is sent; the same at each call.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Day that is over, as 2024-06-10; yesterday (UTC) when not given */
                    fecha?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The day */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ConsumoDias"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether calls can be answered, as the reference systems say it; `/readyz` names the part that is missing */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description They can */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Health"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/livez": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the process lives */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description It lives */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Metrics in the text format of Prometheus */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The page */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether calls can be answered, and if not, which part is missing */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description They can */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Ready"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/archives": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Archives of tables */
        get: {
            parameters: {
                query?: {
                    /** @description Also those that were superseded or given up */
                    all?: boolean;
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                    /** @description Table with its schema */
                    table?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The archives */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Archive"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/archives/archive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Archive the partitions that are due
         * @description Those that ended longer ago than the policy of their table allows, or than `older_than`. An operation: see
         *     `GET /v1/operations/{id}` for its progress, counted in partitions.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ArchiveRequest"];
                };
            };
            responses: {
                /** @description Nothing was done: a dry run */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ArchiveDryRun"];
                    };
                };
                /** @description The operation */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/archives/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Restore the archives of a range
         * @description Every archive that overlaps the range comes back whole. An operation: see `GET /v1/operations/{id}` for its progress, counted in
         *     partitions.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RestoreRequest"];
                };
            };
            responses: {
                /** @description Nothing was done: a dry run */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ArchiveDryRun"];
                    };
                };
                /** @description The operation */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Decisions about messages, gates, streams, archives and accounts, made in any way, the newest first
         * @description For callers of all domains: a decision may be about several.
         */
        get: {
            parameters: {
                query?: {
                    /** @description `replay`, `discard`, `restore`, `edit`, `open_gate`, `close_gate`, `write_off`, `pause_stream`, `resume_stream`, `archive` or `restore_archive` */
                    action?: string;
                    /** @description `next` of the page before */
                    cursor?: string;
                    /** @description Rows of a page, 1 to 1000; 100 when not given */
                    limit?: number;
                    /** @description Who */
                    who?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Decision"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/calls": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Calls of this API that changed something or were denied, the newest first */
        get: {
            parameters: {
                query?: {
                    /** @description `next` of the page before */
                    cursor?: string;
                    /** @description Only denied calls */
                    denied?: boolean;
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                    /** @description Rows of a page, 1 to 1000; 100 when not given */
                    limit?: number;
                    /** @description Caller, as `user:name` or `token:name` */
                    who?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Recorded"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contracts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Contracts of all message types, each with a valid example */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The contracts */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Contract"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contracts/{domain}/{entity}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The JSON Schema of a message type (draft 2020-12)
         * @description Where JSON Schema cannot say a rule, or says it differently, `x-acequia-rules` names the fields and the codes of errors.
         *     `?dry_run=true` of `POST /v1/messages/{domain}/{entity}` checks everything.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Domain */
                    domain: string;
                    /** @description Entity */
                    entity: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The schema */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/schema+json": unknown;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contracts/asyncapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All contracts of the caller's scope as an AsyncAPI document (3.1): exchange, routing keys, queues, headers, identity */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The document */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/vnd.aai.asyncapi+json": unknown;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/domains": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Domains with their message types, keys and fields */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The domains */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Domain"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/dq/results": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Results of rules, the newest first */
        get: {
            parameters: {
                query?: {
                    /** @description `next` of the page before */
                    cursor?: string;
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                    /** @description Rows of a page, 1 to 1000; 100 when not given */
                    limit?: number;
                    /** @description `pass`, `warn`, `fail` or `error` */
                    outcome?: string[];
                    /** @description Rules */
                    rule?: string[];
                    /** @description Checked at this time or later: an instant, or a span as 2h */
                    since?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_RuleResult"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/dq/rules": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Rules with their last result
         * @description `sample_keys` are empty for callers who may not see payloads.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The rules */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Rule"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/entities/{domain}/{entity}/{key}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Everything that came under a key
         * @description The row of the domain table, the messages of the key in staging, and what waits for it. The parts of the key stand in the
         *     order of `GET /v1/domains`, a slash between them. With `values=true` also what is in them, for callers who may see payloads.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Also their fields */
                    values?: boolean;
                };
                header?: never;
                path: {
                    /** @description Domain */
                    domain: string;
                    /** @description Entity */
                    entity: string;
                    /** @description Parts of the key with slashes between them */
                    key: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The trace */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Trace"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Events as they happen (Server-Sent Events)
         * @description `operations`: progress of bulk actions. `gates`: what was opened or closed. `streams`: the state of a stream whenever it has
         *     changed, looked at every two seconds; only the newest counts, so it has no id. A stream ends after a minute. Then, and after a
         *     lost connection, the browser connects again and says in Last-Event-ID where to go on; events are kept for a day. A reader that is too slow gets the event `slow` and is cut off.
         */
        get: {
            parameters: {
                query?: {
                    /** @description `operations`, `gates`, `streams`; all when not given */
                    topics?: string[];
                };
                header?: {
                    /** @description Id of the last event that was seen */
                    "Last-Event-ID"?: string | null;
                };
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The stream */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": components["schemas"]["Event"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/freshness": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How fresh, complete and trustworthy each mart is */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The rows */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Freshness"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/gates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Failing rules and the marts that they concern
         * @description Nothing in the list: no rule of severity error fails. `sample_keys` are empty for callers who may not see payloads.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The gates */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Gate"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/gates/close": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Take openings back */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Close"];
                };
            };
            responses: {
                /** @description What was closed */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_GateAction"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/gates/open": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Let marts be refreshed although rules fail
         * @description They stay marked as not trusted. The answer lists marts and rules; nothing when no gate was closed.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Open"];
                };
            };
            responses: {
                /** @description What was opened */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_GateAction"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/lineage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The way from message type to mart */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The rows */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Lineage"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/marts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Marts */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The marts */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_MartEntry"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/marts/{mart}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Rows of a mart
         * @description Every parameter beside the listed ones is a condition on the column of that name: `calificacion=gte.6`,
         *     `estado=in.(a,b)`, `nombre=contains.ana`, `promedio=is.null`; operators are `eq`, `neq`, `gt`, `gte`, `lt`, `lte`, `in`,
         *     `contains` and `is`. As JSON, NDJSON, CSV or Parquet by the header Accept. Headers, and metadata of a Parquet file, say as of
         *     when the rows are, until when they are complete, and whether they can be trusted; the header Link leads to the next page.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Columns; all when not given */
                    columns?: string[];
                    /** @description Also count the rows that match */
                    count?: boolean;
                    /** @description `next` of the page before */
                    cursor?: string;
                    /** @description Rows of a page, 1 to 10000; 100 when not given */
                    limit?: number;
                    /** @description Columns that rows are sorted by, each with `.asc` or `.desc` behind it; null comes last */
                    order?: string[];
                };
                header?: never;
                path: {
                    /** @description Mart, with or without `marts.` */
                    mart: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The rows */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MartPage"];
                        "application/vnd.apache.parquet": components["schemas"]["ParquetFile"];
                        "application/x-ndjson": string;
                        "text/csv": string;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/marts/{mart}/schema": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Columns of a mart, with what they mean and their units */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Mart, with or without `marts.` */
                    mart: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The schema */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MartSchema"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/messages/{domain}/{entity}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Send a message, or up to 10,000 lines of them
         * @description Messages are checked by their contract, sent to the exchange, and answered once a queue has them on disk. A message with
         *     `event_id` has that as its id; with the header Idempotency-Key its id follows from the key. A second message under an id has
         *     no effect.
         */
        post: {
            parameters: {
                query?: {
                    /** @description Only check; send nothing */
                    dry_run?: boolean;
                    /** @description Wait for the outcome of a single message: a span as 2s, at most 20s */
                    wait?: string;
                };
                header?: {
                    /** @description The same call with the same key gets the same answer for a day */
                    "Idempotency-Key"?: string | null;
                };
                path: {
                    /** @description Domain */
                    domain: string;
                    /** @description Entity */
                    entity: string;
                };
                cookie?: never;
            };
            /** @description One message, or one on each line */
            requestBody: {
                content: {
                    "application/json": unknown;
                    "application/x-ndjson": string;
                };
            };
            responses: {
                /** @description A dry run, lines, or the outcome of a message that was waited for */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Lines"];
                    };
                };
                /** @description The message was sent */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Accepted"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/messages/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Outcome of a message
         * @description Under its id as the publisher gave it, or its identity. With `values=true` also what is in it, for callers who may see
         *     payloads.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Also its fields */
                    values?: boolean;
                };
                header?: never;
                path: {
                    /** @description Id that the message was published with */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The trace */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Trace"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Operations, the newest first */
        get: {
            parameters: {
                query?: {
                    /** @description `next` of the page before */
                    cursor?: string;
                    /** @description Only operations on these domains; all of the scope when not given */
                    domain?: string[];
                    /** @description Rows of a page, 1 to 1000; 100 when not given */
                    limit?: number;
                    /** @description `queued`, `running`, `done`, `failed` or `cancelled` */
                    state?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Operation"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** An operation with its progress */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Number of the operation */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The operation */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop an operation
         * @description Finished rows and partitions stay finished: the answer has their number. A running operation stops after its current rows;
         *     a partition that is being moved stays where it was.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Number of the operation */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The operation */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations/{id}/undo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Undo an operation
         * @description Of a discard: opens the rows again that it discarded and that nobody has touched since. The answer is the operation that does
         *     it, with the rows that were discarded in `matched`; rows that somebody else decided about, or that are not kept any more, are
         *     missing in its `done`. `can_undo` of an operation says whether it can be undone.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Number of the operation */
                    id: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Undo"];
                };
            };
            responses: {
                /** @description The operation that undoes it */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Everybody, by name */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The people */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Person"];
                    };
                };
            };
        };
        put?: never;
        /** Add a person */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["NewPerson"];
                };
            };
            responses: {
                /** @description The person */
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Person"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A person */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Login name */
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The person */
                200: {
                    headers: {
                        /** @description For `If-Match` of an edit */
                        ETag?: string;
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Person"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        /** Remove a person */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Login name */
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The person is removed */
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{name}/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Set a person's password
         * @description Ends every session of the person.
         */
        post: {
            parameters: {
                query?: never;
                header: {
                    /** @description `ETag` of the person, or `*` */
                    "If-Match": string;
                };
                path: {
                    /** @description Login name */
                    name: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["NewPassword"];
                };
            };
            responses: {
                /** @description It is set */
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quarantine": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Rows of the quarantine, the newest first */
        get: {
            parameters: {
                query?: {
                    /** @description Programs that published them. */
                    app_id?: string[];
                    /** @description Codes, as `orphan`. */
                    code?: string[];
                    /** @description Text in the body. Only for callers who may see payloads. */
                    contains?: string;
                    /** @description `next` of the page before */
                    cursor?: string;
                    /** @description Domains; all of the scope when not given. */
                    domain?: string[];
                    /** @description Entities, without their domain; `(unknown)` for messages without one. */
                    entity?: string[];
                    /** @description First offending fields. */
                    field?: string[];
                    /** @description Fingerprints of groups. */
                    fingerprint?: string[];
                    /** @description Numbers of rows, or ids that messages were published with. */
                    id?: string[];
                    /** @description Rows of a page, 1 to 1000; 100 when not given */
                    limit?: number;
                    /** @description First arrived at this time or later: an instant, or a span before now as 2h. */
                    since?: string;
                    /** @description Stages: `decode`, `contract`, `load`, `merge` or `broker`. */
                    stage?: string[];
                    /** @description States: `open`, `replayed`, `discarded` or `resolved`; any when not given. */
                    status?: string[];
                    /** @description First arrived before this time. */
                    until?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description A page */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_QuarantineRow"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quarantine/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A row with its body, its versions and its history
         * @description Body, properties and versions are left out for callers who may not see payloads.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Number of the row, or id of the message */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The row */
                200: {
                    headers: {
                        /** @description For `If-Match` of an edit */
                        ETag?: string;
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["QuarantineMessage"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quarantine/discard": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Give every row that matches up
         * @description `POST /v1/operations/{id}/undo` takes it back while the rows are kept.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Act"];
                };
            };
            responses: {
                /** @description Nothing was done: a dry run */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["DryRun"];
                    };
                };
                /** @description The operation */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quarantine/groups": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How many rows there are of each cause, the most open first
         * @description At most a thousand causes.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Programs that published them. */
                    app_id?: string[];
                    /** @description Codes, as `orphan`. */
                    code?: string[];
                    /** @description Text in the body. Only for callers who may see payloads. */
                    contains?: string;
                    /** @description Domains; all of the scope when not given. */
                    domain?: string[];
                    /** @description Entities, without their domain; `(unknown)` for messages without one. */
                    entity?: string[];
                    /** @description First offending fields. */
                    field?: string[];
                    /** @description Fingerprints of groups. */
                    fingerprint?: string[];
                    /** @description Numbers of rows, or ids that messages were published with. */
                    id?: string[];
                    /** @description First arrived at this time or later: an instant, or a span before now as 2h. */
                    since?: string;
                    /** @description Stages: `decode`, `contract`, `load`, `merge` or `broker`. */
                    stage?: string[];
                    /** @description States: `open`, `replayed`, `discarded` or `resolved`; any when not given. */
                    status?: string[];
                    /** @description First arrived before this time. */
                    until?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The groups */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_QuarantineGroup"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quarantine/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Send every row that matches again
         * @description An operation: see `GET /v1/operations/{id}` for its progress. With `edit` one row is sent at once, if it is still in the state
         *     that `If-Match` names, and the answer is what became of it.
         */
        post: {
            parameters: {
                query?: never;
                header?: {
                    /** @description `ETag` of the row, or `*`; required with `edit`, unless it is a dry run */
                    "If-Match"?: string | null;
                };
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Act"];
                };
            };
            responses: {
                /** @description Nothing was done: a dry run; or one edited row was sent */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["DryRun"];
                    };
                };
                /** @description The operation */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/quarantine/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Open every discarded row that matches again */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Act"];
                };
            };
            responses: {
                /** @description Nothing was done: a dry run */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["DryRun"];
                    };
                };
                /** @description The operation */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Operation"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/reconciliation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Where the messages of each entity are; unaccounted is always 0 */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The rows */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Account"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The caller and its rights */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The caller */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Current"];
                    };
                };
            };
        };
        put?: never;
        /**
         * Log in
         * @description Sets the cookie of a session. Browsers only: programs use tokens.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Login"];
                };
            };
            responses: {
                /** @description The session has begun */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Current"];
                    };
                };
            };
        };
        /** Log out */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The session has ended */
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change one's own password
         * @description Ends every session of the person, this one too.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Change"];
                };
            };
            responses: {
                /** @description It is changed */
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/streams": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Each domain's way from its queues to its tables */
        get: {
            parameters: {
                query?: {
                    /** @description Domains; all of the scope when not given */
                    domain?: string[];
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The rows */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Stream"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/streams/{domain}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Leave a domain's messages in its queues
         * @description Workers finish what they hold and take nothing more until the stream is resumed; everything else goes on. A stream that is
         *     paused stays so, and the answer says since when.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Domain */
                    domain: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["StreamDecision"];
                };
            };
            responses: {
                /** @description What was done */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["StreamChange"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/streams/{domain}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Take a domain's messages again
         * @description A stream that is not paused stays so.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Domain */
                    domain: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["StreamDecision"];
                };
            };
            responses: {
                /** @description What was done */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["StreamChange"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Tokens, the newest first */
        get: {
            parameters: {
                query?: {
                    /** @description Also those that were revoked or have expired */
                    all?: boolean;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The tokens */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Token"];
                    };
                };
            };
        };
        put?: never;
        /** Make a token */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Wanted"];
                };
            };
            responses: {
                /** @description The token */
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Made"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tokens/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke a token
         * @description It ends within five seconds.
         */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Number of the token */
                    id: number;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description The token */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Token"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description Outcome of a message. */
        Accepted: {
            /** @description Id that it was sent with. */
            message_id: string;
            /** @description `<domain>.<entity>` */
            message_type: string;
            /**
             * @description Its outcome, when the call waited: `current`, `superseded`, `pending`, `quarantined` and so on; null when nothing
             *     was known in that time.
             */
            outcome?: string | null;
            /** @description The row of the domain table, when the call waited and the caller may see payloads. */
            row?: Record<string, never> | null;
            /** @description `sent`: a queue has it, on disk. `valid`: a dry run, nothing was sent. */
            status: string;
            /** @description Where its trace is. */
            trace: string;
        };
        /** @description The messages of an entity. `received = duplicates + staged + promoted + stale + pending + quarantined + written_off`. */
        Account: {
            /**
             * Format: int64
             * @description Rows that deleted their key (`_op: delete`).
             */
            deleted: number;
            /** @description Domain. */
            domain: string;
            /**
             * Format: int64
             * @description Messages seen before.
             */
            duplicates: number;
            /** @description Entity; (unknown) when it could not be determined. */
            entity: string;
            /**
             * Format: int64
             * @description Rows that made a new row of the domain table.
             */
            inserted: number;
            /**
             * Format: int64
             * @description Rows that wait for the row they refer to.
             */
            pending: number;
            /**
             * Format: int64
             * @description Rows merged: inserted, updated, unchanged or deleted.
             */
            promoted: number;
            /**
             * Format: int64
             * @description Messages put in quarantine.
             */
            quarantined: number;
            /**
             * Format: int64
             * @description Messages taken from the queue.
             */
            received: number;
            /**
             * Format: int64
             * @description Rows that wait for promotion.
             */
            staged: number;
            /**
             * Format: int64
             * @description Rows superseded by a newer version.
             */
            stale: number;
            /**
             * Format: int64
             * @description Messages that are not accounted for: always 0.
             */
            unaccounted: number;
            /**
             * Format: int64
             * @description Newer versions with the same values.
             */
            unchanged: number;
            /**
             * Format: int64
             * @description Rows that changed one.
             */
            updated: number;
            /**
             * Format: int64
             * @description Rows that were removed before their promotion and given up by an operator.
             */
            written_off: number;
        };
        /** @description An action on every row that matches. */
        Act: {
            /** @description Every row of the scope, without a condition. */
            all?: boolean;
            /** @description Count what would be done, and do nothing. */
            dry_run?: boolean;
            /** @description A body that takes the place of the original, for exactly one row; replay only. The original is kept. */
            edit?: string | null;
            /** @description Which rows; at least one condition, or `all`. */
            filter?: components["schemas"]["QuarantineFilter"];
            /**
             * Format: int32
             * @description Messages per second, at most; replay only.
             */
            rate?: number | null;
            /** @description Why; kept in the audit log. Not needed for a dry run. */
            reason?: string;
        };
        /** @description An archive. */
        Archive: {
            /**
             * Format: int64
             * @description Number.
             */
            archive_id: number;
            /**
             * Format: int64
             * @description Bytes that file and manifest take.
             */
            bytes_archived?: number | null;
            /**
             * Format: int64
             * @description Bytes that the partition took in the database.
             */
            bytes_hot: number;
            /** @description SHA-256 over the values. */
            checksum?: string | null;
            /**
             * Format: date-time
             * @description When it was begun.
             */
            created_at: string;
            /**
             * Format: date-time
             * @description Beginning of its range.
             */
            from_at: string;
            /**
             * Format: date-time
             * @description A restored one is not archived again before.
             */
            hold_until?: string | null;
            /**
             * Format: date-time
             * @description When its retention ends, if it does.
             */
            keep_until?: string | null;
            /**
             * Format: int64
             * @description Rows that came late and wait for it.
             */
            late_rows: number;
            /** @description Parquet file below the URL of the store. */
            object_path: string;
            /** @description SHA-256 of the file. */
            object_sha256?: string | null;
            /** @description Partition. */
            partition_name: string;
            /**
             * Format: int64
             * @description Rows; null before it is verified.
             */
            row_count?: number | null;
            /** @description `writing`, `archived`, `restored`, `superseded`, `purged` or `abandoned`. */
            state: string;
            /** @description Table. */
            table_name: string;
            /**
             * Format: date-time
             * @description End of its range, the first instant that is not in it.
             */
            to_at: string;
        };
        /** @description The partitions that a decision would move. */
        ArchiveDryRun: {
            /**
             * Format: int64
             * @description Their bytes in the database.
             */
            bytes_hot: number;
            /** @description Always true. */
            dry_run: boolean;
            /**
             * Format: int64
             * @description How many would be moved.
             */
            partitions: number;
            /** @description All that match, also those that are held and stay. */
            partitions_list: components["schemas"]["Partition"][];
        };
        /** @description Which partitions to archive. */
        ArchiveRequest: {
            /**
             * @description List what would be archived, and do nothing.
             * @default false
             */
            dry_run?: boolean;
            /**
             * @description Age since the end of a partition, as `30d`, instead of the policy's.
             * @default null
             */
            older_than?: string | null;
            /**
             * @description Why; kept in the audit log. Not needed for a dry run.
             * @default
             */
            reason?: string;
            /**
             * @description Table with its schema; every table of the scope that has a policy when not given.
             * @default null
             */
            table?: string | null;
        };
        /** @description The archived partition that a key belongs to. */
        Away: {
            /** @description Its file, below `ARCHIVE_URL`. */
            object: string;
            /** @description Partition. */
            partition: string;
            /** @description `archived` or `purged`. */
            state: string;
        };
        /** @description The batch that a message came in. */
        Batch: {
            /**
             * Format: int64
             * @description Its number.
             */
            batch_id: number;
            /**
             * Format: date-time
             * @description When its rows were merged.
             */
            promoted_at?: string | null;
            /** @description Queue; null once the row of the batch is deleted, after two hours at the earliest. */
            queue?: string | null;
            /**
             * Format: date-time
             * @description When it was staged.
             */
            received_at?: string | null;
            /** @description `staged` or `promoted`. */
            state?: string | null;
            /** @description Process that took it. */
            worker?: string | null;
        };
        /** @description A new password. */
        Change: {
            /** @description The new one, 12 to 256 bytes. */
            new_password: string;
            /** @description The present one. */
            password: string;
        };
        /** @description Gates that are to be closed. */
        Close: {
            /** @description Marts with their schema; all of the scope when empty. */
            marts?: string[];
            /** @description Why; kept in the audit log. */
            reason: string;
        };
        /** @description An anomaly of an hour, or of a day. */
        ConsumoAnomalia: {
            /** @description `hora` or `dia`. */
            ambito: string;
            /** @description Consumption of the hour or day, kWh. */
            consumo_kwh: components["schemas"]["Exact"];
            /** @description Whether the publisher suspected the client. */
            es_sospechoso_cliente: boolean;
            /**
             * Format: int32
             * @description Hour on the client's clock; null for a day.
             */
            hora?: number | null;
            /** @description Way of judging that found it. */
            modo: string;
            /** @description Client. */
            propietario_id: string;
            /** @description From 0 to 1. */
            score_anomalia: components["schemas"]["Exact"];
            /** @description `media`, `alta` or `crítica`. */
            severidad: string;
            /**
             * Format: date-time
             * @description Beginning of the hour or day, as the client's clock shows it, with its offset.
             */
            timestamp_consumo: string;
            /**
             * Format: date-time
             * @description When it was found first.
             */
            timestamp_deteccion: string;
            /** @description Rules that found an anomaly. */
            tipos_anomalia: string[];
        };
        /** @description The clients beside each other in a month. */
        ConsumoComparativa: {
            /** @description The clients, the greatest consumption first; as many as `limit`. */
            clientes: components["schemas"]["ConsumoMes"][];
            consumo_promedio?: components["schemas"]["Exact"] | null;
            /** @description Their consumption, kWh. */
            consumo_total_mes: components["schemas"]["Exact"];
            /** @description Month as YYYY-MM. */
            mes: string;
            /**
             * Format: int64
             * @description Clients with a reading in it.
             */
            total_clientes: number;
        };
        /** @description Counts of anomalies. */
        ConsumoConteos: {
            /**
             * Format: int64
             * @description Anomalies of severity `alta`.
             */
            anomalias_altas: number;
            /**
             * Format: int64
             * @description Anomalies of severity `crítica`.
             */
            anomalias_criticas: number;
            /**
             * Format: int64
             * @description Anomalies of severity `media`.
             */
            anomalias_medias: number;
            /**
             * Format: int64
             * @description Clients with an anomaly.
             */
            clientes_afectados: number;
            /**
             * Format: int64
             * @description Anomalies.
             */
            total_anomalias: number;
        };
        /** @description A day of a client. */
        ConsumoDia: {
            /** @description Its hours: 24, 23 or 25 when clocks are changed. */
            consumos_horarios: components["schemas"]["ConsumoGenerado"][];
            /** @description Its figures. */
            reporte_diario: components["schemas"]["ConsumoReporte"];
        };
        /** @description A day of several clients. */
        ConsumoDias: {
            /** @description Those of whom there is something to be found: the last ones. */
            clientes_sospechosos: number;
            /**
             * Format: date
             * @description Day on the clock of Madrid.
             */
            fecha: string;
            /** @description Messages that were sent to the exchange, and that a queue has on disk. */
            publicados: number;
            /** @description Each client's day. */
            resultados: components["schemas"]["ConsumoDia"][];
            /** @description Clients. */
            total_clientes: number;
        };
        /** @description A client in the last 24 hours. */
        ConsumoEstadisticas: {
            /**
             * Format: int64
             * @description Anomalies of severity `crítica`.
             */
            anomalias_criticas: number;
            /**
             * Format: int64
             * @description Anomalies.
             */
            anomalias_detectadas: number;
            consumo_maximo?: components["schemas"]["Exact"] | null;
            consumo_minimo?: components["schemas"]["Exact"] | null;
            consumo_noche_promedio?: components["schemas"]["Exact"] | null;
            consumo_promedio_24h?: components["schemas"]["Exact"] | null;
            /** @description Whether the publisher suspected the client in one of these hours. */
            es_cliente_sospechoso: boolean;
            /**
             * Format: int64
             * @description Hours with a reading: the count behind the figures of consumption, which are null without any.
             */
            lecturas: number;
            /** @description Client. */
            propietario_id: string;
        };
        /** @description An hour: the body of a message. */
        ConsumoGenerado: {
            /** @description Whether there is something in this hour. */
            anomalia_esperada: boolean;
            /** @description Consumption, kWh. */
            consumo_kwh: components["schemas"]["Exact"];
            /** @description Whether the client is one of whom there is something to be found. */
            es_sospechoso: boolean;
            /**
             * Format: int32
             * @description Hour on that clock.
             */
            hora: number;
            /** @description Client. */
            propietario_id: string;
            /**
             * Format: date-time
             * @description Beginning of the hour, by the clock of Madrid.
             */
            timestamp: string;
            /**
             * Format: date-time
             * @description When the reading was made.
             */
            timestamp_procesado: string;
            /** @description What. */
            tipo_anomalia?: string | null;
        };
        /** @description An hour of a client. */
        ConsumoLectura: {
            /** @description Whether the way of judging found something. */
            anomalia_detectada: boolean;
            /** @description Consumption in the hour, kWh. */
            consumo_kwh: components["schemas"]["Exact"];
            /**
             * Format: int32
             * @description Hour on the client's clock: that of `timestamp`.
             */
            hora: number;
            /** @description Client. */
            propietario_id: string;
            /** @description From 0 to 1; 0 without an anomaly. */
            score_anomalia: components["schemas"]["Exact"];
            /** @description `normal`, `media`, `alta` or `crítica`. */
            severidad: string;
            /**
             * Format: date-time
             * @description Beginning of the hour, as the client's clock shows it, with its offset.
             */
            timestamp: string;
            /** @description Rules that found an anomaly. */
            tipos_anomalia: string[];
        };
        /** @description A month of a client. Anomalies are those of the way of judging (`modo`) that the marts show. */
        ConsumoMes: {
            /** @description Client and month. */
            _id: string;
            /**
             * Format: int64
             * @description Anomalies of severity `alta`.
             */
            anomalias_altas: number;
            /**
             * Format: int64
             * @description Anomalies of severity `crítica`.
             */
            anomalias_criticas: number;
            /**
             * Format: int64
             * @description Anomalies.
             */
            anomalias_detectadas: number;
            /**
             * Format: int64
             * @description Anomalies of severity `media`.
             */
            anomalias_medias: number;
            /** @description Sum of the scores by the number of readings. */
            avg_score_anomalia: components["schemas"]["Exact"];
            consumo_desviacion?: components["schemas"]["Exact"] | null;
            /** @description Greatest hour, kWh. */
            consumo_maximo: components["schemas"]["Exact"];
            /** @description Least hour, kWh. */
            consumo_minimo: components["schemas"]["Exact"];
            consumo_noche_promedio?: components["schemas"]["Exact"] | null;
            /** @description Mean hour, kWh. */
            consumo_promedio: components["schemas"]["Exact"];
            consumo_punta_promedio?: components["schemas"]["Exact"] | null;
            /** @description Consumption, kWh. */
            consumo_total: components["schemas"]["Exact"];
            consumo_valle_promedio?: components["schemas"]["Exact"] | null;
            /**
             * Format: int64
             * @description Days with a reading.
             */
            dias: number;
            /**
             * Format: int32
             * @description Days without any reading, as far as they are over.
             */
            dias_sin_lectura: number;
            /** @description Highest score, 0 without anomalies. */
            max_score_anomalia: components["schemas"]["Exact"];
            /**
             * Format: date
             * @description First day of the month.
             */
            mes: string;
            /** @description Month as YYYY-MM. */
            mes_str: string;
            /**
             * Format: int64
             * @description Readings.
             */
            num_registros: number;
            /** @description Client. */
            propietario_id: string;
            /** @description Whether the publisher suspected the client in any hour. */
            tiene_comportamiento_sospechoso: boolean;
            /**
             * Format: date-time
             * @description When it was computed: now.
             */
            timestamp: string;
        };
        /** @description The figures of a day. */
        ConsumoReporte: {
            /** @description Whether there is something to be found. */
            anomalia_detectada: boolean;
            /** @description Consumption at night (0 to 5 and 23 h), kWh. */
            consumo_noche: components["schemas"]["Exact"];
            /** @description Mean hour, kWh. */
            consumo_promedio_horario: components["schemas"]["Exact"];
            /** @description Consumption at the peak (18 to 22 h), kWh. */
            consumo_punta: components["schemas"]["Exact"];
            /** @description Consumption, kWh. */
            consumo_total_24h: components["schemas"]["Exact"];
            /** @description Whether the client is one of whom there is something to be found. */
            es_sospechoso: boolean;
            /**
             * Format: date
             * @description Day on the clock of Madrid.
             */
            fecha: string;
            /** @description Share of the night, percent. */
            pct_noche: components["schemas"]["Exact"];
            /** @description Client. */
            propietario_id: string;
            /** @description The first kind of it. */
            tipo_anomalia?: string | null;
        };
        /** @description Anomalies of all clients in the last hours. */
        ConsumoResumen: components["schemas"]["ConsumoConteos"] & {
            /** @description The same with their counts. */
            conteo_por_tipo: components["schemas"]["ConsumoTipo"][];
            /** @description The five rules that found most anomalies, the most frequent first. */
            tipos_mas_frecuentes: string[];
        };
        /** @description A rule, and how many anomalies it found. */
        ConsumoTipo: {
            /**
             * Format: int64
             * @description Anomalies.
             */
            anomalias: number;
            /** @description Rule. */
            tipo: string;
        };
        /** @description Clients with the most anomalies. */
        ConsumoTop: {
            /** @description The clients, the most critical first. */
            clientes: components["schemas"]["ConsumoTopCliente"][];
        };
        /** @description A client with anomalies. */
        ConsumoTopCliente: {
            /** @description Client. */
            _id: string;
            /**
             * Format: int64
             * @description Anomalies of severity `crítica`.
             */
            anomalias_criticas: number;
            /**
             * Format: int64
             * @description Anomalies over all time.
             */
            total_anomalias: number;
            /**
             * Format: date-time
             * @description Beginning of the last one.
             */
            ultima_anomalia: string;
        };
        /** @description A contract. */
        Contract: {
            /** @description Domain. */
            domain: string;
            /** @description Entity. */
            entity: string;
            /** @description A valid message. */
            example?: Record<string, never> | null;
            /** @description Where its JSON Schema is. */
            schema: string;
            /** @description Where messages are sent. */
            send: string;
            /**
             * Format: int64
             * @description Version of the contract.
             */
            version: number;
        };
        /** @description The caller. */
        Current: {
            /** @description Domains that the role is for; null: all. */
            domains?: string[] | null;
            /**
             * Format: date-time
             * @description End of the session or token.
             */
            expires_at: string;
            /** @description `user` or `token`. */
            kind: string;
            /** @description Name of the person or token. */
            name: string;
            /** @description What the role may do: `look`, `rows`, `payloads`, `publish`, `operate`, `administer`. */
            rights: string[];
            /** @description Role. */
            role: components["schemas"]["Role"];
        };
        /** @description What was decided about messages, gates, streams, archives and accounts. */
        Decision: {
            /**
             * @description `replay`, `discard`, `restore`, `edit`, `open_gate`, `close_gate`, `write_off`, `pause_stream`, `resume_stream`,
             *     `archive` or `restore_archive`.
             */
            action: string;
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /**
             * Format: int64
             * @description Its number.
             */
            audit_id: number;
            /** @description Filters that they were chosen by. */
            filters: Record<string, never>;
            /** @description Role of the database that did it. */
            login: string;
            /** @description Marts whose gate it was done to. */
            marts?: string[] | null;
            /** @description The first hundred of them. */
            quarantine_ids: number[];
            /** @description Why. */
            reason?: string | null;
            /**
             * Format: int32
             * @description Rows of the quarantine that it was done to.
             */
            row_count: number;
            /** @description Who. */
            who: string;
        };
        /** @description A domain. */
        Domain: {
            /** @description Name. */
            domain: string;
            /** @description Message types, parents before children. */
            entities: components["schemas"]["Entity"][];
            /** @description Queue of the publishers of a reference system. */
            legacy_queue?: string | null;
            /** @description Queue that its messages wait in. */
            queue: string;
        };
        /** @description A row of the core. */
        DomainRow: {
            /**
             * Format: int64
             * @description Batch it came in.
             */
            batch_id: number;
            /**
             * Format: date-time
             * @description When its key went, for a row whose key is gone.
             */
            deleted_at?: string | null;
            /**
             * Format: date-time
             * @description Event time of that version.
             */
            event_at: string;
            /**
             * Format: date-time
             * @description When the version was in the core at the latest: the promotion of its batch, or of the
             *     rows it refers to, for which it may have waited. Null once the rows of these batches
             *     are deleted.
             */
            in_core_by?: string | null;
            /** @description Key columns and their values. */
            key: unknown;
            /** @description Marts that read the table. */
            marts: components["schemas"]["TracedMart"][];
            /**
             * Format: uuid
             * @description Message of the version that the row shows.
             */
            message_id: string;
            /** @description Core table. */
            table: string;
            /** @description Its columns, when they were asked for. */
            values?: Record<string, never> | null;
        };
        /** @description The rows that an action would change. */
        DryRun: {
            /** @description The same by domain, entity and code. */
            by: components["schemas"]["Would"][];
            /** @description Always true. */
            dry_run: boolean;
            /**
             * Format: int64
             * @description Rows that match.
             */
            rows: number;
        };
        /** @description A message type. */
        Entity: {
            /** @description Domain table. */
            domain_table: string;
            /** @description Name inside the domain. */
            entity: string;
            /** @description Fields. */
            fields: components["schemas"]["Field"][];
            /** @description Fields of the key, in the order of `GET /v1/entities`. */
            key: string[];
            /** @description `<domain>.<entity>`: routing key and AMQP type. */
            message_type: string;
            /** @description Staging table. */
            staging_table: string;
        };
        /** @description An event. */
        Event: {
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description What happened. */
            data: unknown;
            /** @description Domain that it is about; null when it is about several. */
            domain?: string | null;
            /**
             * Format: int64
             * @description Its number, by which a listener resumes; null for a state, which is always the newest.
             */
            event_id?: number | null;
            /** @description `operations`, `gates` or `streams`. */
            topic: string;
        };
        /**
         * Format: double
         * @description A decimal: a JSON number with all its digits. A query selects it as text.
         */
        Exact: number;
        /** @description A field of a message. */
        Field: {
            /** @description Name. */
            name: string;
            /** @description Whether it must be there. */
            required: boolean;
            /** @description Type in PostgreSQL. */
            sql_type: string;
        };
        /** @description What is wrong with one field, parameter or line. It never holds the value. */
        FieldError: {
            /** @description Code, from the list of docs/contracts.md for messages. */
            code: string;
            /** @description Field of the body with dots between levels, or name of the parameter; empty for the body as a whole. */
            field: string;
            /** @description A sentence for people. */
            message: string;
        };
        /** @description A mart. All times are those of the database. */
        Freshness: {
            /**
             * Format: date-time
             * @description Since when it has lacked something that has arrived.
             */
            behind_since?: string | null;
            /** @description Rules that fail on what it reads or shows. */
            blocking_rules: string[];
            /**
             * Format: date-time
             * @description Each of its rules has run since then.
             */
            checked_at?: string | null;
            /**
             * Format: date-time
             * @description Everything that was published until then, and could be promoted, is in it.
             */
            complete_through?: string | null;
            /**
             * Format: date-time
             * @description Publish time of the newest batch in it.
             */
            data_as_of?: string | null;
            /** @description Its domain. */
            domain: string;
            /** @description `open`, `closed`, `opened` or `none`. */
            gate: string;
            /** @description Message that keeps `complete_through` back. */
            held_by?: string | null;
            /** @description `view` or `materialized`. */
            kind: string;
            /** @description Mart. */
            mart: string;
            /**
             * Format: int64
             * @description Messages that it lacks, however old.
             */
            missing?: number | null;
            /**
             * Format: date-time
             * @description Since when.
             */
            missing_since?: string | null;
            /**
             * Format: double
             * @description How long it may lack what has arrived, in seconds.
             */
            objective_s: number;
            /**
             * Format: date-time
             * @description Last look at its queues.
             */
            observed_at?: string | null;
            /**
             * Format: date-time
             * @description Last refresh; the present for a view.
             */
            refreshed_at?: string | null;
            /** @description `fresh`, `late`, `blocked`, `untrusted`, `unknown` or `empty`. */
            status: string;
            /** @description Whether no rule of severity error fails on what it shows. */
            trusted?: boolean | null;
        };
        /** @description A failing rule and a mart that it concerns. */
        Gate: {
            /**
             * Format: date-time
             * @description Time of the last check.
             */
            check_time: string;
            /** @description What the rule says. */
            details?: string | null;
            /**
             * Format: int64
             * @description Failing rows.
             */
            failing_count?: number | null;
            /**
             * Format: date-time
             * @description Failing since.
             */
            failing_since: string;
            /** @description `open`, `closed`, or `opened` by somebody. */
            gate: string;
            /** @description `view` or `materialized`. */
            kind: string;
            /** @description Mart. */
            mart: string;
            /**
             * Format: date-time
             * @description When somebody opened it.
             */
            opened_at?: string | null;
            /** @description Who opened it. */
            opened_by?: string | null;
            /**
             * Format: date-time
             * @description Until when; until the result changes where there is no time.
             */
            opened_until?: string | null;
            /** @description `fail`, or `error` when it could not run. */
            outcome: string;
            /** @description Why. */
            reason?: string | null;
            /** @description The rule that fails. */
            rule: string;
            /** @description Keys of some of them. */
            sample_keys: string[];
        };
        /** @description A mart and a rule that an action was done to. */
        GateAction: {
            /** @description Mart. */
            mart: string;
            /** @description Rule. */
            rule: string;
            /**
             * Format: date-time
             * @description Until when, where there is a time.
             */
            until?: string | null;
        };
        /** @description Whether calls can be answered. */
        Health: {
            /** @description Name of the program. */
            service: string;
            /** @description `healthy`, or `unhealthy` while the database does not answer. */
            status: string;
            /**
             * Format: date-time
             * @description Time by the database's clock.
             */
            timestamp: string;
        };
        /** @description Outcomes of the messages of a key. */
        KeyTrace: {
            archived?: components["schemas"]["Away"] | null;
            core?: components["schemas"]["DomainRow"] | null;
            /** @description Entity with its domain. */
            entity: string;
            /** @description Key columns and their values, as they were asked for. */
            key: {
                [key: string]: unknown;
            };
            /** @description The messages of the key in staging, by event time; the newest 200. */
            versions: components["schemas"]["Staged"][];
            /** @description Rows of other entities that wait for this key, the oldest 200. */
            waiting: components["schemas"]["Waiting"][];
        };
        /** @description Outcome of a line. */
        Line: {
            /** @description What is wrong with it. */
            errors?: components["schemas"]["FieldError"][];
            /** @description Number of the line, from 1. */
            line: number;
            /** @description Id that the message was sent with; null when it was refused. */
            message_id?: string | null;
            /** @description `sent`, `valid` (a dry run) or `refused`. */
            status: string;
        };
        /** @description A message type and a mart that shows its rows. */
        Lineage: {
            /** @description Domain. */
            domain?: string | null;
            /** @description Where they are merged into. */
            domain_table?: string | null;
            /** @description Mart that reads this table, directly or through other marts; null when none does. */
            mart?: string | null;
            /** @description `view` or `materialized`. */
            mart_kind?: string | null;
            /** @description What merges them. */
            merge_function?: string | null;
            /** @description Message type as `<domain>.<entity>`; null for a table that no messages fill. */
            message_type?: string | null;
            /** @description Where its valid messages wait. */
            staging_table?: string | null;
        };
        /** @description Outcome of each line. */
        Lines: {
            /** @description Every line in its order; empty lines have none. */
            lines: components["schemas"]["Line"][];
            /** @description `<domain>.<entity>` */
            message_type: string;
            /** @description Messages that were refused. */
            refused: number;
            /** @description Messages that a queue has. */
            sent: number;
            /** @description Messages that are valid and were not sent: a dry run. */
            valid: number;
        };
        /** @description A login. */
        Login: {
            /** @description Name. */
            name: string;
            /** @description Password. */
            password: string;
        };
        /** @description Acknowledged messages that the database lost at one time. */
        LostMessages: {
            /** @description Their domain. */
            domain: string;
            /**
             * Format: date-time
             * @description When the first and the last of them were published, or acknowledged where that is not known.
             */
            from: string;
            /**
             * Format: int64
             * @description How many.
             */
            messages: number;
            /**
             * Format: date-time
             * @description When it was noticed.
             */
            noticed_at: string;
            /**
             * Format: int32
             * @description Timeline of the server that does not have them.
             */
            timeline?: number | null;
            /**
             * Format: date-time
             * @description See `from`.
             */
            until: string;
        };
        /** @description A token that was made. */
        Made: {
            /** @description The token: shown now, and never again. */
            secret: string;
            /** @description What is kept of it. */
            token: components["schemas"]["Token"];
        };
        /** @description A column. */
        MartColumn: {
            /** @description What it holds and in which unit. */
            about?: string | null;
            /** @description Type in JSON: `number`, `integer`, `boolean`, `string`, `array` or `object`. */
            json_type: string;
            /** @description Whether it is part of the key of the rows; false where no key is known. */
            key: boolean;
            /** @description Name. */
            name: string;
            /** @description Whether its values have an order, by which rows can be sorted and paged. */
            sortable: boolean;
            /** @description Type in PostgreSQL. */
            sql_type: string;
        };
        /** @description A mart. */
        MartEntry: {
            /** @description What its rows are. */
            about?: string | null;
            /** @description Tables that it reads. */
            depends_on: string[];
            /** @description Domain. */
            domain: string;
            /**
             * Format: int64
             * @description Rows as the planner estimates them; null for a view.
             */
            estimated_rows?: number | null;
            /** @description `view`, which is always live, or `materialized`. */
            kind: string;
            /** @description Name with its schema. */
            mart: string;
            /**
             * Format: double
             * @description How long it may lack a message that has arrived, in seconds.
             */
            objective_s: number;
        };
        /** @description A page of rows, and what they can be relied on for. */
        MartPage: {
            /**
             * Format: date-time
             * @description Everything that was published until then is in it.
             */
            complete_through?: string | null;
            /**
             * Format: int64
             * @description Rows that match, when they were to be counted.
             */
            count?: number | null;
            /**
             * Format: date-time
             * @description Publish time of the newest batch in it.
             */
            data_as_of?: string | null;
            /** @description Mart. */
            mart: string;
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
            /** @description The rows. Decimals are JSON numbers with all their digits. */
            rows: Record<string, never>[];
            /** @description `fresh`, `late`, `blocked`, `untrusted`, `unknown` or `empty`. */
            status: string;
            /** @description Whether no rule of severity error fails on what it shows. */
            trusted: boolean;
        };
        /** @description A mart with its columns. */
        MartSchema: components["schemas"]["MartEntry"] & {
            /** @description Its columns in their order. */
            columns: components["schemas"]["MartColumn"][];
        };
        /** @description A staged message and the row of its key in the domain table. */
        Merged: components["schemas"]["Staged"] & {
            archived?: components["schemas"]["Away"] | null;
            core?: components["schemas"]["DomainRow"] | null;
        };
        /**
         * @description Outcome of a message.
         * @enum {string}
         */
        MessageOutcome: "staged" | "pending" | "current" | "superseded" | "deleted" | "quarantined" | "replayed" | "discarded" | "resolved" | "not_in_core" | "archived" | "purged" | "unknown";
        /** @description Outcome of a message. */
        MessageTrace: {
            /** @description Its id as it was asked for. */
            asked: string;
            /**
             * Format: date
             * @description Day inside the identity: partition of its rows.
             */
            day: string;
            /**
             * @description Acknowledged messages that a failover took, when nothing is known of this one and it may be
             *     among them.
             */
            lost?: components["schemas"]["LostMessages"][];
            /**
             * Format: uuid
             * @description Its identity.
             */
            message_id: string;
            /** @description The other rows of its id in quarantine. */
            more_quarantine?: components["schemas"]["TracedQuarantine"][];
            /** @description Its outcome. */
            outcome: components["schemas"]["MessageOutcome"];
            quarantine?: components["schemas"]["TracedQuarantine"] | null;
            /**
             * @description Its row in staging, with the core's row of its key. More than one when the same id was
             *     used for several entities.
             */
            rows: components["schemas"]["Merged"][];
        };
        /** @description A password that is to be set. */
        NewPassword: {
            /** @description The new one, 12 to 256 bytes. */
            password: string;
        };
        /** @description A person to add. */
        NewPerson: {
            /** @description Domains that the role is for; all when not given. */
            domains?: string[] | null;
            /** @description Login name: small letters, digits and `. _ @ -`. */
            name: string;
            /** @description Password, 12 to 256 bytes. */
            password: string;
            /** @description Role. */
            role: components["schemas"]["Role"];
        };
        /** @description Gates that are to be opened. */
        Open: {
            /** @description For how long, as 30m, 2h or 1d; until a rule passes or gets worse when not given. */
            for?: string | null;
            /** @description Marts with their schema; all of the scope when empty. */
            marts?: string[];
            /** @description Why; kept in the audit log. */
            reason: string;
        };
        /** @description An operation. */
        Operation: {
            /** @description Whether it can be undone: it has discarded rows, has ended, and nobody has undone it. */
            can_undo: boolean;
            /**
             * Format: date-time
             * @description When somebody asked to cancel it.
             */
            cancel_at?: string | null;
            /** @description Who. */
            cancelled_by?: string | null;
            /**
             * Format: date-time
             * @description When it was asked for.
             */
            created_at: string;
            /** @description Domains whose rows or tables it is about; null: all. */
            domains?: string[] | null;
            /**
             * Format: int64
             * @description Rows, or partitions, done.
             */
            done: number;
            /** @description Why it failed. */
            error?: string | null;
            /**
             * Format: int64
             * @description Rows that no queue took; partitions that stay as they were because of an error.
             */
            failed: number;
            /** @description The first hundred of these rows or partitions. */
            failures: components["schemas"]["OperationFailure"][];
            /** @description Filters that rows or partitions are chosen by. */
            filters: Record<string, never>;
            /**
             * Format: date-time
             * @description When it ended.
             */
            finished_at?: string | null;
            /** @description `replay`, `discard` or `restore` of rows in quarantine; `archive` or `restore_archive` of partitions. */
            kind: string;
            /**
             * Format: int64
             * @description Rows, or partitions, that matched when it was asked for; of an undo, rows that were discarded.
             */
            matched: number;
            /**
             * Format: int64
             * @description Its number.
             */
            operation_id: number;
            /**
             * Format: int32
             * @description Messages per second, at most.
             */
            rate?: number | null;
            /** @description Why. */
            reason?: string | null;
            /**
             * Format: date-time
             * @description Last sign of life of the process that carries it out.
             */
            seen_at?: string | null;
            /**
             * Format: date-time
             * @description When a process took it first.
             */
            started_at?: string | null;
            /** @description `queued`, `running`, `done`, `failed` or `cancelled`. */
            state: string;
            /**
             * Format: int64
             * @description The discard that it takes back, if it is an undo.
             */
            undoes?: number | null;
            /**
             * Format: int64
             * @description The operation that takes it back; one that failed or was cancelled does not count.
             */
            undone_by?: number | null;
            /** @description Who asked for it. */
            who: string;
        };
        /** @description What an operation could not do. */
        OperationFailure: components["schemas"]["ReplayFailure"] | components["schemas"]["PartitionFailure"];
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Account: {
            /** @description The rows. */
            items: {
                /**
                 * Format: int64
                 * @description Rows that deleted their key (`_op: delete`).
                 */
                deleted: number;
                /** @description Domain. */
                domain: string;
                /**
                 * Format: int64
                 * @description Messages seen before.
                 */
                duplicates: number;
                /** @description Entity; (unknown) when it could not be determined. */
                entity: string;
                /**
                 * Format: int64
                 * @description Rows that made a new row of the domain table.
                 */
                inserted: number;
                /**
                 * Format: int64
                 * @description Rows that wait for the row they refer to.
                 */
                pending: number;
                /**
                 * Format: int64
                 * @description Rows merged: inserted, updated, unchanged or deleted.
                 */
                promoted: number;
                /**
                 * Format: int64
                 * @description Messages put in quarantine.
                 */
                quarantined: number;
                /**
                 * Format: int64
                 * @description Messages taken from the queue.
                 */
                received: number;
                /**
                 * Format: int64
                 * @description Rows that wait for promotion.
                 */
                staged: number;
                /**
                 * Format: int64
                 * @description Rows superseded by a newer version.
                 */
                stale: number;
                /**
                 * Format: int64
                 * @description Messages that are not accounted for: always 0.
                 */
                unaccounted: number;
                /**
                 * Format: int64
                 * @description Newer versions with the same values.
                 */
                unchanged: number;
                /**
                 * Format: int64
                 * @description Rows that changed one.
                 */
                updated: number;
                /**
                 * Format: int64
                 * @description Rows that were removed before their promotion and given up by an operator.
                 */
                written_off: number;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Archive: {
            /** @description The rows. */
            items: {
                /**
                 * Format: int64
                 * @description Number.
                 */
                archive_id: number;
                /**
                 * Format: int64
                 * @description Bytes that file and manifest take.
                 */
                bytes_archived?: number | null;
                /**
                 * Format: int64
                 * @description Bytes that the partition took in the database.
                 */
                bytes_hot: number;
                /** @description SHA-256 over the values. */
                checksum?: string | null;
                /**
                 * Format: date-time
                 * @description When it was begun.
                 */
                created_at: string;
                /**
                 * Format: date-time
                 * @description Beginning of its range.
                 */
                from_at: string;
                /**
                 * Format: date-time
                 * @description A restored one is not archived again before.
                 */
                hold_until?: string | null;
                /**
                 * Format: date-time
                 * @description When its retention ends, if it does.
                 */
                keep_until?: string | null;
                /**
                 * Format: int64
                 * @description Rows that came late and wait for it.
                 */
                late_rows: number;
                /** @description Parquet file below the URL of the store. */
                object_path: string;
                /** @description SHA-256 of the file. */
                object_sha256?: string | null;
                /** @description Partition. */
                partition_name: string;
                /**
                 * Format: int64
                 * @description Rows; null before it is verified.
                 */
                row_count?: number | null;
                /** @description `writing`, `archived`, `restored`, `superseded`, `purged` or `abandoned`. */
                state: string;
                /** @description Table. */
                table_name: string;
                /**
                 * Format: date-time
                 * @description End of its range, the first instant that is not in it.
                 */
                to_at: string;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Contract: {
            /** @description The rows. */
            items: {
                /** @description Domain. */
                domain: string;
                /** @description Entity. */
                entity: string;
                /** @description A valid message. */
                example?: Record<string, never> | null;
                /** @description Where its JSON Schema is. */
                schema: string;
                /** @description Where messages are sent. */
                send: string;
                /**
                 * Format: int64
                 * @description Version of the contract.
                 */
                version: number;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Decision: {
            /** @description The rows. */
            items: {
                /**
                 * @description `replay`, `discard`, `restore`, `edit`, `open_gate`, `close_gate`, `write_off`, `pause_stream`, `resume_stream`,
                 *     `archive` or `restore_archive`.
                 */
                action: string;
                /**
                 * Format: date-time
                 * @description When.
                 */
                at: string;
                /**
                 * Format: int64
                 * @description Its number.
                 */
                audit_id: number;
                /** @description Filters that they were chosen by. */
                filters: Record<string, never>;
                /** @description Role of the database that did it. */
                login: string;
                /** @description Marts whose gate it was done to. */
                marts?: string[] | null;
                /** @description The first hundred of them. */
                quarantine_ids: number[];
                /** @description Why. */
                reason?: string | null;
                /**
                 * Format: int32
                 * @description Rows of the quarantine that it was done to.
                 */
                row_count: number;
                /** @description Who. */
                who: string;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Domain: {
            /** @description The rows. */
            items: {
                /** @description Name. */
                domain: string;
                /** @description Message types, parents before children. */
                entities: components["schemas"]["Entity"][];
                /** @description Queue of the publishers of a reference system. */
                legacy_queue?: string | null;
                /** @description Queue that its messages wait in. */
                queue: string;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Freshness: {
            /** @description The rows. */
            items: {
                /**
                 * Format: date-time
                 * @description Since when it has lacked something that has arrived.
                 */
                behind_since?: string | null;
                /** @description Rules that fail on what it reads or shows. */
                blocking_rules: string[];
                /**
                 * Format: date-time
                 * @description Each of its rules has run since then.
                 */
                checked_at?: string | null;
                /**
                 * Format: date-time
                 * @description Everything that was published until then, and could be promoted, is in it.
                 */
                complete_through?: string | null;
                /**
                 * Format: date-time
                 * @description Publish time of the newest batch in it.
                 */
                data_as_of?: string | null;
                /** @description Its domain. */
                domain: string;
                /** @description `open`, `closed`, `opened` or `none`. */
                gate: string;
                /** @description Message that keeps `complete_through` back. */
                held_by?: string | null;
                /** @description `view` or `materialized`. */
                kind: string;
                /** @description Mart. */
                mart: string;
                /**
                 * Format: int64
                 * @description Messages that it lacks, however old.
                 */
                missing?: number | null;
                /**
                 * Format: date-time
                 * @description Since when.
                 */
                missing_since?: string | null;
                /**
                 * Format: double
                 * @description How long it may lack what has arrived, in seconds.
                 */
                objective_s: number;
                /**
                 * Format: date-time
                 * @description Last look at its queues.
                 */
                observed_at?: string | null;
                /**
                 * Format: date-time
                 * @description Last refresh; the present for a view.
                 */
                refreshed_at?: string | null;
                /** @description `fresh`, `late`, `blocked`, `untrusted`, `unknown` or `empty`. */
                status: string;
                /** @description Whether no rule of severity error fails on what it shows. */
                trusted?: boolean | null;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Gate: {
            /** @description The rows. */
            items: {
                /**
                 * Format: date-time
                 * @description Time of the last check.
                 */
                check_time: string;
                /** @description What the rule says. */
                details?: string | null;
                /**
                 * Format: int64
                 * @description Failing rows.
                 */
                failing_count?: number | null;
                /**
                 * Format: date-time
                 * @description Failing since.
                 */
                failing_since: string;
                /** @description `open`, `closed`, or `opened` by somebody. */
                gate: string;
                /** @description `view` or `materialized`. */
                kind: string;
                /** @description Mart. */
                mart: string;
                /**
                 * Format: date-time
                 * @description When somebody opened it.
                 */
                opened_at?: string | null;
                /** @description Who opened it. */
                opened_by?: string | null;
                /**
                 * Format: date-time
                 * @description Until when; until the result changes where there is no time.
                 */
                opened_until?: string | null;
                /** @description `fail`, or `error` when it could not run. */
                outcome: string;
                /** @description Why. */
                reason?: string | null;
                /** @description The rule that fails. */
                rule: string;
                /** @description Keys of some of them. */
                sample_keys: string[];
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_GateAction: {
            /** @description The rows. */
            items: {
                /** @description Mart. */
                mart: string;
                /** @description Rule. */
                rule: string;
                /**
                 * Format: date-time
                 * @description Until when, where there is a time.
                 */
                until?: string | null;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Lineage: {
            /** @description The rows. */
            items: {
                /** @description Domain. */
                domain?: string | null;
                /** @description Where they are merged into. */
                domain_table?: string | null;
                /** @description Mart that reads this table, directly or through other marts; null when none does. */
                mart?: string | null;
                /** @description `view` or `materialized`. */
                mart_kind?: string | null;
                /** @description What merges them. */
                merge_function?: string | null;
                /** @description Message type as `<domain>.<entity>`; null for a table that no messages fill. */
                message_type?: string | null;
                /** @description Where its valid messages wait. */
                staging_table?: string | null;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_MartEntry: {
            /** @description The rows. */
            items: {
                /** @description What its rows are. */
                about?: string | null;
                /** @description Tables that it reads. */
                depends_on: string[];
                /** @description Domain. */
                domain: string;
                /**
                 * Format: int64
                 * @description Rows as the planner estimates them; null for a view.
                 */
                estimated_rows?: number | null;
                /** @description `view`, which is always live, or `materialized`. */
                kind: string;
                /** @description Name with its schema. */
                mart: string;
                /**
                 * Format: double
                 * @description How long it may lack a message that has arrived, in seconds.
                 */
                objective_s: number;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Operation: {
            /** @description The rows. */
            items: {
                /** @description Whether it can be undone: it has discarded rows, has ended, and nobody has undone it. */
                can_undo: boolean;
                /**
                 * Format: date-time
                 * @description When somebody asked to cancel it.
                 */
                cancel_at?: string | null;
                /** @description Who. */
                cancelled_by?: string | null;
                /**
                 * Format: date-time
                 * @description When it was asked for.
                 */
                created_at: string;
                /** @description Domains whose rows or tables it is about; null: all. */
                domains?: string[] | null;
                /**
                 * Format: int64
                 * @description Rows, or partitions, done.
                 */
                done: number;
                /** @description Why it failed. */
                error?: string | null;
                /**
                 * Format: int64
                 * @description Rows that no queue took; partitions that stay as they were because of an error.
                 */
                failed: number;
                /** @description The first hundred of these rows or partitions. */
                failures: components["schemas"]["OperationFailure"][];
                /** @description Filters that rows or partitions are chosen by. */
                filters: Record<string, never>;
                /**
                 * Format: date-time
                 * @description When it ended.
                 */
                finished_at?: string | null;
                /** @description `replay`, `discard` or `restore` of rows in quarantine; `archive` or `restore_archive` of partitions. */
                kind: string;
                /**
                 * Format: int64
                 * @description Rows, or partitions, that matched when it was asked for; of an undo, rows that were discarded.
                 */
                matched: number;
                /**
                 * Format: int64
                 * @description Its number.
                 */
                operation_id: number;
                /**
                 * Format: int32
                 * @description Messages per second, at most.
                 */
                rate?: number | null;
                /** @description Why. */
                reason?: string | null;
                /**
                 * Format: date-time
                 * @description Last sign of life of the process that carries it out.
                 */
                seen_at?: string | null;
                /**
                 * Format: date-time
                 * @description When a process took it first.
                 */
                started_at?: string | null;
                /** @description `queued`, `running`, `done`, `failed` or `cancelled`. */
                state: string;
                /**
                 * Format: int64
                 * @description The discard that it takes back, if it is an undo.
                 */
                undoes?: number | null;
                /**
                 * Format: int64
                 * @description The operation that takes it back; one that failed or was cancelled does not count.
                 */
                undone_by?: number | null;
                /** @description Who asked for it. */
                who: string;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Person: {
            /** @description The rows. */
            items: {
                /**
                 * Format: date-time
                 * @description When the person was added.
                 */
                created_at: string;
                /** @description By whom. */
                created_by: string;
                /** @description Domains that the role is for; null: all. */
                domains?: string[] | null;
                /**
                 * Format: date-time
                 * @description Last login.
                 */
                last_login_at?: string | null;
                /** @description Login name. */
                name: string;
                /**
                 * Format: date-time
                 * @description When the password was set.
                 */
                password_at: string;
                /** @description Role. */
                role: components["schemas"]["Role"];
                /**
                 * Format: int64
                 * @description Sessions that have not ended.
                 */
                sessions: number;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_QuarantineGroup: {
            /** @description The rows. */
            items: {
                /** @description Stable reason. */
                code: string;
                /**
                 * Format: int64
                 * @description Rows given up.
                 */
                discarded: number;
                /** @description Domain. */
                domain: string;
                /** @description Entity; (unknown) for messages without one. */
                entity: string;
                /** @description First offending field. */
                field_path?: string | null;
                /** @description The same for the same domain, entity, code and field. */
                fingerprint: string;
                /**
                 * Format: date-time
                 * @description First arrival.
                 */
                first_seen_at: string;
                /**
                 * Format: date-time
                 * @description Last arrival.
                 */
                last_seen_at: string;
                /**
                 * Format: int64
                 * @description Arrivals.
                 */
                occurrences: number;
                /**
                 * Format: int64
                 * @description Open rows.
                 */
                open: number;
                /**
                 * Format: int64
                 * @description Rows sent again.
                 */
                replayed: number;
                /**
                 * Format: int64
                 * @description Rows of which a copy was accepted.
                 */
                resolved: number;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_QuarantineRow: {
            /** @description The rows. */
            items: {
                /** @description Program that published it. */
                app_id?: string | null;
                /** @description Stable reason. */
                code: string;
                /** @description Domain. */
                domain: string;
                /** @description Entity, if it is known. */
                entity?: string | null;
                /** @description First offending field. */
                field_path?: string | null;
                /** @description The same for the same domain, entity, code and field. */
                fingerprint: string;
                /**
                 * Format: uuid
                 * @description Identity of the message, when it is not that of the row.
                 */
                identity?: string | null;
                /**
                 * Format: date-time
                 * @description Last arrival.
                 */
                last_seen_at: string;
                /** @description The reason in words. */
                message: string;
                /**
                 * Format: uuid
                 * @description Identity of the row.
                 */
                message_id: string;
                /**
                 * Format: int32
                 * @description How often the very same message arrived.
                 */
                occurrences: number;
                /**
                 * Format: int64
                 * @description Number of the row.
                 */
                quarantine_id: number;
                /**
                 * Format: date-time
                 * @description First arrival.
                 */
                received_at: string;
                /**
                 * Format: int32
                 * @description How often it was sent again.
                 */
                replays: number;
                /** @description `decode`, `contract`, `load`, `merge` or `broker`. */
                stage: string;
                /** @description `open`, `replayed`, `discarded` or `resolved`. */
                status: string;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Recorded: {
            /** @description The rows. */
            items: {
                /** @description Address of the caller. */
                address?: string | null;
                /**
                 * Format: date-time
                 * @description When it was answered.
                 */
                at: string;
                /**
                 * Format: int64
                 * @description Its number.
                 */
                call_id: number;
                /** @description Code of the problem. */
                code?: string | null;
                /** @description Filters and counts. */
                detail: unknown;
                /** @description Domain that it was about. */
                domain?: string | null;
                /** @description HTTP method. */
                method: string;
                /** @description Path. */
                path: string;
                /** @description Reason that the caller gave. */
                reason?: string | null;
                /**
                 * Format: uuid
                 * @description Id of the request.
                 */
                request_id: string;
                /** @description Role of the caller. */
                role?: string | null;
                /** @description Route with its parameters in braces. */
                route: string;
                /**
                 * Format: int32
                 * @description HTTP status.
                 */
                status: number;
                /** @description Caller, as `user:name` or `token:name`; null when nobody was recognised. */
                who?: string | null;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Rule: {
            /** @description The rows. */
            items: {
                /**
                 * Format: date-time
                 * @description When it was checked.
                 */
                check_time?: string | null;
                /** @description What holds when it passes. */
                description: string;
                /** @description The result in words. */
                details?: string | null;
                /** @description Domain. */
                domain: string;
                /** @description Whether it runs. */
                enabled: boolean;
                /**
                 * Format: int64
                 * @description Failing rows.
                 */
                failing_count?: number | null;
                /** @description Outcomes of its last twenty runs, the newest last. */
                history: string[];
                /** @description Measured value, all digits. */
                measured?: string | null;
                /** @description `pass`, `warn`, `fail`, `error` when it could not run, or `never run`. */
                outcome: string;
                /** @description What to do when it fails. */
                remedy: string;
                /** @description Name. */
                rule: string;
                /** @description Keys of up to five of them; none for callers who may not see payloads. */
                sample_keys: string[];
                /** @description `warn`, or `error`: the marts on this table are not to be trusted while it fails. */
                severity: string;
                /** @description Table that it watches. */
                table_name: string;
                /** @description Kind of test: `not_null`, `unique`, `relationships`, `accepted_range` and so on. */
                test: string;
                /** @description The rule passes when the measure is at most this. */
                threshold: string;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_RuleResult: {
            /** @description The rows. */
            items: {
                /**
                 * Format: date-time
                 * @description When it was checked.
                 */
                check_time: string;
                /** @description The result in words. */
                details?: string | null;
                /** @description Domain. */
                domain: string;
                /**
                 * Format: double
                 * @description Duration of the check in milliseconds.
                 */
                duration_ms?: number | null;
                /**
                 * Format: int64
                 * @description Failing rows.
                 */
                failing_count?: number | null;
                /**
                 * Format: int64
                 * @description Its number.
                 */
                id: number;
                /** @description Measured value, all digits. */
                measured?: string | null;
                /** @description `pass`, `warn`, `fail`, or `error` when the rule could not run. */
                outcome: string;
                /** @description Rule. */
                rule: string;
                /** @description Keys of up to five of them; none for callers who may not see payloads. */
                sample_keys: string[];
                /** @description Severity of the rule at the time. */
                severity: string;
                /** @description Table that it watches. */
                table_name: string;
                /** @description Limit at the time, all digits. */
                threshold?: string | null;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Stream: {
            /** @description The rows. */
            items: {
                /**
                 * Format: double
                 * @description Messages per second that arrived in the last minute.
                 */
                arrived_per_s: number;
                /**
                 * Format: double
                 * @description Messages per second that arrived in the last quarter of an hour.
                 */
                arrived_per_s_15m: number;
                /**
                 * Format: double
                 * @description Seconds that the waiting messages take at the speed of the last minute; null when nothing waits or nothing moves.
                 */
                backlog_s?: number | null;
                /**
                 * Format: int64
                 * @description Consumers of its queues.
                 */
                consumers: number;
                /** @description Domain. */
                domain: string;
                /**
                 * Format: date-time
                 * @description Last arrival of a batch.
                 */
                last_batch_at?: string | null;
                /**
                 * Format: date-time
                 * @description Last merge.
                 */
                last_merge_at?: string | null;
                /**
                 * Format: date-time
                 * @description Newest publish time of what was merged.
                 */
                merged_through?: string | null;
                /**
                 * Format: date-time
                 * @description Last look at its queues; null when one was never seen.
                 */
                observed_at?: string | null;
                /** @description Why. */
                pause_reason?: string | null;
                /**
                 * Format: date-time
                 * @description When an operator paused it: workers leave its messages in the queues since; null when they take them.
                 */
                paused_at?: string | null;
                /** @description Who paused it. */
                paused_by?: string | null;
                /**
                 * Format: int64
                 * @description Rows that wait for the row they refer to.
                 */
                pending: number;
                /**
                 * Format: int64
                 * @description Open rows in quarantine.
                 */
                quarantine_open: number;
                /**
                 * Format: date-time
                 * @description Since when, at least, messages wait in its queues.
                 */
                queued_since?: string | null;
                /** @description Its queues as the workers saw them last. */
                queues: components["schemas"]["Queue"][];
                /**
                 * Format: int64
                 * @description Messages ready in its queues.
                 */
                ready: number;
                /**
                 * Format: int64
                 * @description Rows that wait for promotion.
                 */
                staged: number;
                /**
                 * Format: date-time
                 * @description Arrival of the oldest batch that waits for promotion.
                 */
                staged_since?: string | null;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /** @description The first rows of a list, and where the next ones begin. */
        Page_Token: {
            /** @description The rows. */
            items: {
                /**
                 * Format: date-time
                 * @description When it was made.
                 */
                created_at: string;
                /** @description By whom. */
                created_by: string;
                /** @description Domains that the role is for; null: all. */
                domains?: string[] | null;
                /**
                 * Format: date-time
                 * @description End of its validity.
                 */
                expires_at: string;
                /** @description First characters of the token. */
                hint: string;
                /**
                 * Format: date-time
                 * @description Last call, to the minute.
                 */
                last_used_at?: string | null;
                /** @description Name of the program; `app_id` of the messages that it sends. */
                name: string;
                /**
                 * Format: int32
                 * @description Calls per second; null: the default of the API.
                 */
                rate?: number | null;
                /**
                 * Format: date-time
                 * @description When it was revoked.
                 */
                revoked_at?: string | null;
                /** @description By whom. */
                revoked_by?: string | null;
                /** @description Role. */
                role: components["schemas"]["Role"];
                /**
                 * Format: int64
                 * @description Its number.
                 */
                token_id: number;
            }[];
            /** @description Parameter `cursor` of the next page; null on the last one. */
            next?: string | null;
        };
        /**
         * Format: binary
         * @description A Parquet file.
         */
        ParquetFile: string;
        /** @description Something that calls depend on. */
        Part: {
            /** @description `database`, `operator`, `archive` or `broker`. */
            name: string;
            /** @description Whether it answers. */
            ready: boolean;
            /** @description Whether this process is not ready without it. */
            required: boolean;
            /** @description Why not, and what to do. */
            why?: string | null;
        };
        /** @description A partition that a decision is about. */
        Partition: {
            /**
             * Format: int64
             * @description Bytes in the database, with indexes; of an archive, those that it took there.
             */
            bytes_hot: number;
            /**
             * Format: date-time
             * @description Beginning of its range.
             */
            from_at: string;
            /**
             * Format: date-time
             * @description A restored partition is not archived before; null for others.
             */
            held_until?: string | null;
            /** @description Partition. */
            partition_name: string;
            /**
             * Format: int64
             * @description Rows of an archive; null for a partition in the database, which is counted when it is archived.
             */
            row_count?: number | null;
            /** @description Table. */
            table_name: string;
            /**
             * Format: date-time
             * @description End of its range, the first instant that is not in it.
             */
            to_at: string;
        };
        /** @description A partition that could not be archived or restored. */
        PartitionFailure: {
            /** @description Partition with its schema. */
            partition_name: string;
            /** @description Why not. */
            reason: string;
        };
        /** @description A person. */
        Person: {
            /**
             * Format: date-time
             * @description When the person was added.
             */
            created_at: string;
            /** @description By whom. */
            created_by: string;
            /** @description Domains that the role is for; null: all. */
            domains?: string[] | null;
            /**
             * Format: date-time
             * @description Last login.
             */
            last_login_at?: string | null;
            /** @description Login name. */
            name: string;
            /**
             * Format: date-time
             * @description When the password was set.
             */
            password_at: string;
            /** @description Role. */
            role: components["schemas"]["Role"];
            /**
             * Format: int64
             * @description Sessions that have not ended.
             */
            sessions: number;
        };
        /** @description Problem details (RFC 9457). */
        Problem: {
            /** @description Stable code. */
            code: string;
            /** @description What happened and what to do. */
            detail: string;
            /** @description What is wrong with single fields, parameters or lines. */
            errors: components["schemas"]["FieldError"][];
            /** @description Id of the request, also in the header X-Request-Id and in the log. */
            instance: string;
            /**
             * Format: int32
             * @description HTTP status.
             */
            status: number;
            /** @description The kind in words. */
            title: string;
            /** @description A name of the kind of problem: `urn:acequia:problem:` and the code. */
            type: string;
        };
        /** @description A body as it is documented: callers who may not see payloads get neither. */
        QuarantineBody: {
            /** @description The body, as `encoding` says; not for callers who may not see payloads. */
            body?: string;
            /** @description `utf-8` or `base64`; not for callers who may not see payloads. */
            encoding?: string;
        };
        /** @description Something that was done to the row. */
        QuarantineEntry: {
            /** @description `replay`, `discard` or `edit`. */
            action: string;
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description Role of the database. */
            login: string;
            /** @description Why. */
            reason?: string | null;
            /**
             * Format: int32
             * @description Rows that it was done to at once.
             */
            row_count: number;
            /** @description Who did it. */
            who: string;
        };
        /** @description Conditions on rows of the quarantine. A row must meet every condition; of a list, one value. */
        QuarantineFilter: {
            /**
             * @description Programs that published them.
             * @default []
             */
            app_id?: string[];
            /**
             * @description Codes, as `orphan`.
             * @default []
             */
            code?: string[];
            /**
             * @description Text in the body. Only for callers who may see payloads.
             * @default null
             */
            contains?: string | null;
            /**
             * @description Domains; all of the scope when not given.
             * @default []
             */
            domain?: string[];
            /**
             * @description Entities, without their domain; `(unknown)` for messages without one.
             * @default []
             */
            entity?: string[];
            /**
             * @description First offending fields.
             * @default []
             */
            field?: string[];
            /**
             * @description Fingerprints of groups.
             * @default []
             */
            fingerprint?: string[];
            /**
             * @description Numbers of rows, or ids that messages were published with.
             * @default []
             */
            id?: string[];
            /**
             * @description First arrived at this time or later: an instant, or a span before now as 2h.
             * @default null
             */
            since?: string | null;
            /**
             * @description Stages: `decode`, `contract`, `load`, `merge` or `broker`.
             * @default []
             */
            stage?: string[];
            /**
             * @description States: `open`, `replayed`, `discarded` or `resolved`; any when not given.
             * @default []
             */
            status?: string[];
            /**
             * @description First arrived before this time.
             * @default null
             */
            until?: string | null;
        };
        /** @description Rows of the same cause. */
        QuarantineGroup: {
            /** @description Stable reason. */
            code: string;
            /**
             * Format: int64
             * @description Rows given up.
             */
            discarded: number;
            /** @description Domain. */
            domain: string;
            /** @description Entity; (unknown) for messages without one. */
            entity: string;
            /** @description First offending field. */
            field_path?: string | null;
            /** @description The same for the same domain, entity, code and field. */
            fingerprint: string;
            /**
             * Format: date-time
             * @description First arrival.
             */
            first_seen_at: string;
            /**
             * Format: date-time
             * @description Last arrival.
             */
            last_seen_at: string;
            /**
             * Format: int64
             * @description Arrivals.
             */
            occurrences: number;
            /**
             * Format: int64
             * @description Open rows.
             */
            open: number;
            /**
             * Format: int64
             * @description Rows sent again.
             */
            replayed: number;
            /**
             * Format: int64
             * @description Rows of which a copy was accepted.
             */
            resolved: number;
        };
        /** @description A row with its body, its versions and its history. */
        QuarantineMessage: components["schemas"]["QuarantineBody"] & {
            /**
             * Format: int64
             * @description Batch of the accepted message that resolved it.
             */
            accepted_batch_id?: number | null;
            /**
             * Format: int64
             * @description Batch it arrived in.
             */
            batch_id: number;
            /** @description Stable reason. */
            code: string;
            /**
             * Format: int32
             * @description Version of the contract that judged it.
             */
            contract_version: number;
            /** @description Domain. */
            domain: string;
            /** @description Entity, if it is known. */
            entity?: string | null;
            /** @description First offending field. */
            field_path?: string | null;
            /** @description The same for the same domain, entity, code and field. */
            fingerprint: string;
            /** @description Replays, discards, edits. */
            history: components["schemas"]["QuarantineEntry"][];
            /**
             * Format: uuid
             * @description Identity of the message, when it is not that of the row.
             */
            identity?: string | null;
            /**
             * Format: date-time
             * @description Last arrival.
             */
            last_seen_at: string;
            /** @description The reason in words. */
            message: string;
            /**
             * Format: uuid
             * @description Identity of the row.
             */
            message_id: string;
            /** @description Why. */
            note?: string | null;
            /**
             * Format: int32
             * @description How often the very same message arrived.
             */
            occurrences: number;
            /** @description AMQP properties and headers; not for callers who may not see payloads. */
            properties?: unknown;
            /**
             * Format: int64
             * @description Number of the row.
             */
            quarantine_id: number;
            /** @description Queue it came from. */
            queue: string;
            /**
             * Format: date-time
             * @description First arrival.
             */
            received_at: string;
            /**
             * Format: int32
             * @description How often it was sent again.
             */
            replays: number;
            /**
             * Format: date-time
             * @description When it was last replayed, discarded or resolved.
             */
            resolved_at?: string | null;
            /** @description By whom. */
            resolved_by?: string | null;
            /** @description Code of PostgreSQL, when it refused the row. */
            sqlstate?: string | null;
            /** @description `decode`, `contract`, `load`, `merge` or `broker`. */
            stage: string;
            /** @description `open`, `replayed`, `discarded` or `resolved`. */
            status: string;
            /** @description Bodies that took the place of the original; not for callers who may not see payloads. */
            versions?: components["schemas"]["QuarantineVersion"][];
            /** @description All violations: code, path, message. */
            violations: unknown;
        };
        /** @description A row. */
        QuarantineRow: {
            /** @description Program that published it. */
            app_id?: string | null;
            /** @description Stable reason. */
            code: string;
            /** @description Domain. */
            domain: string;
            /** @description Entity, if it is known. */
            entity?: string | null;
            /** @description First offending field. */
            field_path?: string | null;
            /** @description The same for the same domain, entity, code and field. */
            fingerprint: string;
            /**
             * Format: uuid
             * @description Identity of the message, when it is not that of the row.
             */
            identity?: string | null;
            /**
             * Format: date-time
             * @description Last arrival.
             */
            last_seen_at: string;
            /** @description The reason in words. */
            message: string;
            /**
             * Format: uuid
             * @description Identity of the row.
             */
            message_id: string;
            /**
             * Format: int32
             * @description How often the very same message arrived.
             */
            occurrences: number;
            /**
             * Format: int64
             * @description Number of the row.
             */
            quarantine_id: number;
            /**
             * Format: date-time
             * @description First arrival.
             */
            received_at: string;
            /**
             * Format: int32
             * @description How often it was sent again.
             */
            replays: number;
            /** @description `decode`, `contract`, `load`, `merge` or `broker`. */
            stage: string;
            /** @description `open`, `replayed`, `discarded` or `resolved`. */
            status: string;
        };
        /** @description A body that took the place of the original. */
        QuarantineVersion: components["schemas"]["QuarantineBody"] & {
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description By whom. */
            by: string;
            /** @description Why. */
            note?: string | null;
            /**
             * Format: int32
             * @description From 1 on.
             */
            version: number;
        };
        /** @description A queue. */
        Queue: {
            /**
             * Format: int64
             * @description Consumers.
             */
            consumers: number;
            /**
             * Format: date-time
             * @description When a worker looked.
             */
            looked_at?: string | null;
            /** @description Name. */
            queue: string;
            /**
             * Format: int64
             * @description Messages ready.
             */
            ready: number;
        };
        /** @description Whether calls can be answered. */
        Ready: {
            /** @description The parts that calls depend on. */
            parts: components["schemas"]["Part"][];
            /** @description Whether they can. Reading needs the database only. */
            ready: boolean;
        };
        /** @description An entry of the record. */
        Recorded: {
            /** @description Address of the caller. */
            address?: string | null;
            /**
             * Format: date-time
             * @description When it was answered.
             */
            at: string;
            /**
             * Format: int64
             * @description Its number.
             */
            call_id: number;
            /** @description Code of the problem. */
            code?: string | null;
            /** @description Filters and counts. */
            detail: unknown;
            /** @description Domain that it was about. */
            domain?: string | null;
            /** @description HTTP method. */
            method: string;
            /** @description Path. */
            path: string;
            /** @description Reason that the caller gave. */
            reason?: string | null;
            /**
             * Format: uuid
             * @description Id of the request.
             */
            request_id: string;
            /** @description Role of the caller. */
            role?: string | null;
            /** @description Route with its parameters in braces. */
            route: string;
            /**
             * Format: int32
             * @description HTTP status.
             */
            status: number;
            /** @description Caller, as `user:name` or `token:name`; null when nobody was recognised. */
            who?: string | null;
        };
        /** @description A row that could not be replayed. */
        ReplayFailure: {
            /**
             * Format: int64
             * @description Number of the row.
             */
            quarantine_id: number;
            /** @description Why not. */
            reason: string;
        };
        /** @description Which archives to restore. */
        RestoreRequest: {
            /** @description List what would be restored, and do nothing. */
            dry_run?: boolean;
            /** @description First day, as `2024-09-01`, or month, as `2024-09`. */
            from: string;
            /** @description How long they are not archived again; `7d` when not given. */
            hold?: string | null;
            /** @description Why; kept in the audit log. Not needed for a dry run. */
            reason?: string;
            /** @description Table with its schema. */
            table: string;
            /** @description Last day or month; partitions are restored whole. */
            to: string;
        };
        /**
         * @description Role of a person or program.
         * @enum {string}
         */
        Role: "viewer" | "analyst" | "publisher" | "operator" | "admin";
        /** @description Which program answers. */
        Root: {
            /** @description What this is. */
            message: string;
            /** @description Version of the program. */
            version: string;
        };
        /** @description A rule with its last result. */
        Rule: {
            /**
             * Format: date-time
             * @description When it was checked.
             */
            check_time?: string | null;
            /** @description What holds when it passes. */
            description: string;
            /** @description The result in words. */
            details?: string | null;
            /** @description Domain. */
            domain: string;
            /** @description Whether it runs. */
            enabled: boolean;
            /**
             * Format: int64
             * @description Failing rows.
             */
            failing_count?: number | null;
            /** @description Outcomes of its last twenty runs, the newest last. */
            history: string[];
            /** @description Measured value, all digits. */
            measured?: string | null;
            /** @description `pass`, `warn`, `fail`, `error` when it could not run, or `never run`. */
            outcome: string;
            /** @description What to do when it fails. */
            remedy: string;
            /** @description Name. */
            rule: string;
            /** @description Keys of up to five of them; none for callers who may not see payloads. */
            sample_keys: string[];
            /** @description `warn`, or `error`: the marts on this table are not to be trusted while it fails. */
            severity: string;
            /** @description Table that it watches. */
            table_name: string;
            /** @description Kind of test: `not_null`, `unique`, `relationships`, `accepted_range` and so on. */
            test: string;
            /** @description The rule passes when the measure is at most this. */
            threshold: string;
        };
        /** @description A result. */
        RuleResult: {
            /**
             * Format: date-time
             * @description When it was checked.
             */
            check_time: string;
            /** @description The result in words. */
            details?: string | null;
            /** @description Domain. */
            domain: string;
            /**
             * Format: double
             * @description Duration of the check in milliseconds.
             */
            duration_ms?: number | null;
            /**
             * Format: int64
             * @description Failing rows.
             */
            failing_count?: number | null;
            /**
             * Format: int64
             * @description Its number.
             */
            id: number;
            /** @description Measured value, all digits. */
            measured?: string | null;
            /** @description `pass`, `warn`, `fail`, or `error` when the rule could not run. */
            outcome: string;
            /** @description Rule. */
            rule: string;
            /** @description Keys of up to five of them; none for callers who may not see payloads. */
            sample_keys: string[];
            /** @description Severity of the rule at the time. */
            severity: string;
            /** @description Table that it watches. */
            table_name: string;
            /** @description Limit at the time, all digits. */
            threshold?: string | null;
        };
        /** @description A message in staging. */
        Staged: {
            /** @description Its batch. */
            batch: components["schemas"]["Batch"];
            /** @description Entity, with its domain. */
            entity: string;
            /**
             * Format: date-time
             * @description Event time.
             */
            event_at: string;
            /** @description Key columns and their values. */
            key: unknown;
            /**
             * Format: double
             * @description From there to staging, in seconds.
             */
            lag_s?: number | null;
            /**
             * Format: uuid
             * @description Its identity.
             */
            message_id: string;
            /** @description Its outcome. */
            outcome: components["schemas"]["MessageOutcome"];
            pending?: components["schemas"]["Waits"] | null;
            /**
             * Format: date-time
             * @description When the publisher sent it.
             */
            published_at?: string | null;
            /** @description Staging table. */
            table: string;
            /** @description Its fields, when they were asked for. */
            values?: Record<string, never> | null;
        };
        /** @description The stream of a domain. */
        Stream: {
            /**
             * Format: double
             * @description Messages per second that arrived in the last minute.
             */
            arrived_per_s: number;
            /**
             * Format: double
             * @description Messages per second that arrived in the last quarter of an hour.
             */
            arrived_per_s_15m: number;
            /**
             * Format: double
             * @description Seconds that the waiting messages take at the speed of the last minute; null when nothing waits or nothing moves.
             */
            backlog_s?: number | null;
            /**
             * Format: int64
             * @description Consumers of its queues.
             */
            consumers: number;
            /** @description Domain. */
            domain: string;
            /**
             * Format: date-time
             * @description Last arrival of a batch.
             */
            last_batch_at?: string | null;
            /**
             * Format: date-time
             * @description Last merge.
             */
            last_merge_at?: string | null;
            /**
             * Format: date-time
             * @description Newest publish time of what was merged.
             */
            merged_through?: string | null;
            /**
             * Format: date-time
             * @description Last look at its queues; null when one was never seen.
             */
            observed_at?: string | null;
            /** @description Why. */
            pause_reason?: string | null;
            /**
             * Format: date-time
             * @description When an operator paused it: workers leave its messages in the queues since; null when they take them.
             */
            paused_at?: string | null;
            /** @description Who paused it. */
            paused_by?: string | null;
            /**
             * Format: int64
             * @description Rows that wait for the row they refer to.
             */
            pending: number;
            /**
             * Format: int64
             * @description Open rows in quarantine.
             */
            quarantine_open: number;
            /**
             * Format: date-time
             * @description Since when, at least, messages wait in its queues.
             */
            queued_since?: string | null;
            /** @description Its queues as the workers saw them last. */
            queues: components["schemas"]["Queue"][];
            /**
             * Format: int64
             * @description Messages ready in its queues.
             */
            ready: number;
            /**
             * Format: int64
             * @description Rows that wait for promotion.
             */
            staged: number;
            /**
             * Format: date-time
             * @description Arrival of the oldest batch that waits for promotion.
             */
            staged_since?: string | null;
        };
        /** @description Result of pausing or resuming a stream. */
        StreamChange: {
            /** @description Whether it was not before: done again, nothing changes. */
            changed: boolean;
            /** @description Domain. */
            domain: string;
            /** @description Whether it is paused now. */
            paused: boolean;
            /** @description Why. */
            reason?: string | null;
            /**
             * Format: date-time
             * @description Since when; null when it was not paused and nothing changed.
             */
            since?: string | null;
            /** @description Who decided so. */
            who?: string | null;
        };
        /** @description Why a stream is paused or resumed. */
        StreamDecision: {
            /** @description Why; kept in the audit log. */
            reason: string;
        };
        /** @description A token, without its secret. */
        Token: {
            /**
             * Format: date-time
             * @description When it was made.
             */
            created_at: string;
            /** @description By whom. */
            created_by: string;
            /** @description Domains that the role is for; null: all. */
            domains?: string[] | null;
            /**
             * Format: date-time
             * @description End of its validity.
             */
            expires_at: string;
            /** @description First characters of the token. */
            hint: string;
            /**
             * Format: date-time
             * @description Last call, to the minute.
             */
            last_used_at?: string | null;
            /** @description Name of the program; `app_id` of the messages that it sends. */
            name: string;
            /**
             * Format: int32
             * @description Calls per second; null: the default of the API.
             */
            rate?: number | null;
            /**
             * Format: date-time
             * @description When it was revoked.
             */
            revoked_at?: string | null;
            /** @description By whom. */
            revoked_by?: string | null;
            /** @description Role. */
            role: components["schemas"]["Role"];
            /**
             * Format: int64
             * @description Its number.
             */
            token_id: number;
        };
        /** @description Result of a trace. */
        Trace: (components["schemas"]["MessageTrace"] & {
            /** @enum {string} */
            trace: "message";
        }) | (components["schemas"]["KeyTrace"] & {
            /** @enum {string} */
            trace: "key";
        });
        /** @description Something that was done to the row. */
        TracedEntry: {
            /** @description `replay`, `discard` or `edit`. */
            action: string;
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description Why. */
            reason?: string | null;
            /** @description By whom. */
            who: string;
        };
        /** @description A mart that reads a core table. */
        TracedMart: {
            /** @description Whether it has a row of the key; null when its rows are not by that key: a sum, an average. */
            has_row?: boolean | null;
            /** @description `view` or `materialized`. */
            kind: string;
            /** @description Its name. */
            mart: string;
            /**
             * Format: date-time
             * @description Last refresh; the present for a view.
             */
            refreshed_at?: string | null;
            /**
             * @description Whether it was refreshed since the version came into the core, and has a row of the key where
             *     its rows are by that key.
             */
            shows_it: boolean;
        };
        /** @description A message in quarantine. */
        TracedQuarantine: {
            /**
             * Format: int64
             * @description Batch of the accepted message that resolved it.
             */
            accepted_batch_id?: number | null;
            /**
             * Format: int64
             * @description Batch it arrived in.
             */
            batch_id: number;
            /** @description The original body, when values were asked for; bytes that are not UTF-8 are replaced. */
            body?: string | null;
            /** @description Stable reason. */
            code: string;
            /** @description Entity with its domain, or the domain alone when the entity is unknown. */
            entity: string;
            /** @description First offending field. */
            field_path?: string | null;
            /** @description Replays, discards, edits. */
            history: components["schemas"]["TracedEntry"][];
            /**
             * Format: uuid
             * @description Identity of the message, when another message has that as the identity of its row.
             */
            identity?: string | null;
            /**
             * Format: date-time
             * @description Last arrival.
             */
            last_seen_at: string;
            /** @description The reason in words. */
            message: string;
            /**
             * Format: uuid
             * @description Identity of the row.
             */
            message_id: string;
            /** @description Why. */
            note?: string | null;
            /**
             * Format: int32
             * @description How often the very same message arrived.
             */
            occurrences: number;
            /**
             * Format: int64
             * @description Number for `worker quarantine`.
             */
            quarantine_id: number;
            /** @description Queue. */
            queue: string;
            /**
             * Format: date-time
             * @description First arrival.
             */
            received_at: string;
            /**
             * Format: date-time
             * @description When it was last replayed, discarded or resolved.
             */
            resolved_at?: string | null;
            /** @description By whom. */
            resolved_by?: string | null;
            /** @description PostgreSQL's code when it refused the row. */
            sqlstate?: string | null;
            /** @description `decode`, `contract`, `load`, `merge` or `broker`. */
            stage: string;
            /** @description `open`, `replayed`, `discarded` or `resolved`. */
            status: string;
            /** @description Bodies that took the place of the original. */
            versions: components["schemas"]["TracedVersion"][];
            /** @description All violations: code, path, message. */
            violations: unknown;
            /** @description Process that took it; null once the row of the batch is deleted. */
            worker?: string | null;
        };
        /** @description A body that an operator put in the place of the original. */
        TracedVersion: {
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description By whom. */
            by: string;
            /** @description Why. */
            note?: string | null;
            /**
             * Format: int32
             * @description From 1 on.
             */
            version: number;
        };
        /** @description A discard that is to be taken back. */
        Undo: {
            /** @description Why; kept in the audit log. */
            reason: string;
        };
        /** @description A row that waits for the key. */
        Waiting: {
            /** @description Its entity, with its domain. */
            entity: string;
            /**
             * Format: uuid
             * @description Its message.
             */
            message_id: string;
            /**
             * Format: date-time
             * @description Waiting since.
             */
            since: string;
        };
        /** @description A row that waits for another one. */
        Waits: {
            /** @description Missing entity. */
            parent: string;
            /** @description Its key. */
            parent_key: string;
            /** @description The parent has come; the next merge takes the row. */
            ready: boolean;
            /**
             * Format: date-time
             * @description Waiting since.
             */
            since: string;
        };
        /** @description A token that is to be made. */
        Wanted: {
            /**
             * Format: int32
             * @description Days of validity, 1 to 3650; 90 when not given.
             */
            days?: number | null;
            /** @description Domains that the role is for; all when not given. */
            domains?: string[] | null;
            /** @description Name of the program: small letters, digits and `. _ @ -`. */
            name: string;
            /**
             * Format: int32
             * @description Calls per second; the default of the API when not given.
             */
            rate?: number | null;
            /** @description Role. */
            role: components["schemas"]["Role"];
        };
        /** @description Rows of the same kind that an action would be done to. */
        Would: {
            /** @description Code. */
            code: string;
            /** @description Domain. */
            domain: string;
            /** @description Entity; (unknown) for messages without one. */
            entity: string;
            /**
             * Format: int64
             * @description How many.
             */
            rows: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type Accepted = components['schemas']['Accepted'];
export type Account = components['schemas']['Account'];
export type Act = components['schemas']['Act'];
export type Archive = components['schemas']['Archive'];
export type ArchiveDryRun = components['schemas']['ArchiveDryRun'];
export type ArchiveRequest = components['schemas']['ArchiveRequest'];
export type Away = components['schemas']['Away'];
export type Batch = components['schemas']['Batch'];
export type Change = components['schemas']['Change'];
export type Close = components['schemas']['Close'];
export type ConsumoAnomalia = components['schemas']['ConsumoAnomalia'];
export type ConsumoComparativa = components['schemas']['ConsumoComparativa'];
export type ConsumoConteos = components['schemas']['ConsumoConteos'];
export type ConsumoDia = components['schemas']['ConsumoDia'];
export type ConsumoDias = components['schemas']['ConsumoDias'];
export type ConsumoEstadisticas = components['schemas']['ConsumoEstadisticas'];
export type ConsumoGenerado = components['schemas']['ConsumoGenerado'];
export type ConsumoLectura = components['schemas']['ConsumoLectura'];
export type ConsumoMes = components['schemas']['ConsumoMes'];
export type ConsumoReporte = components['schemas']['ConsumoReporte'];
export type ConsumoResumen = components['schemas']['ConsumoResumen'];
export type ConsumoTipo = components['schemas']['ConsumoTipo'];
export type ConsumoTop = components['schemas']['ConsumoTop'];
export type ConsumoTopCliente = components['schemas']['ConsumoTopCliente'];
export type Contract = components['schemas']['Contract'];
export type Current = components['schemas']['Current'];
export type Decision = components['schemas']['Decision'];
export type Domain = components['schemas']['Domain'];
export type DomainRow = components['schemas']['DomainRow'];
export type DryRun = components['schemas']['DryRun'];
export type Entity = components['schemas']['Entity'];
export type Event = components['schemas']['Event'];
export type Exact = components['schemas']['Exact'];
export type Field = components['schemas']['Field'];
export type FieldError = components['schemas']['FieldError'];
export type Freshness = components['schemas']['Freshness'];
export type Gate = components['schemas']['Gate'];
export type GateAction = components['schemas']['GateAction'];
export type Health = components['schemas']['Health'];
export type KeyTrace = components['schemas']['KeyTrace'];
export type Line = components['schemas']['Line'];
export type Lineage = components['schemas']['Lineage'];
export type Lines = components['schemas']['Lines'];
export type Login = components['schemas']['Login'];
export type LostMessages = components['schemas']['LostMessages'];
export type Made = components['schemas']['Made'];
export type MartColumn = components['schemas']['MartColumn'];
export type MartEntry = components['schemas']['MartEntry'];
export type MartPage = components['schemas']['MartPage'];
export type MartSchema = components['schemas']['MartSchema'];
export type Merged = components['schemas']['Merged'];
export type MessageOutcome = components['schemas']['MessageOutcome'];
export type MessageTrace = components['schemas']['MessageTrace'];
export type NewPassword = components['schemas']['NewPassword'];
export type NewPerson = components['schemas']['NewPerson'];
export type Open = components['schemas']['Open'];
export type Operation = components['schemas']['Operation'];
export type OperationFailure = components['schemas']['OperationFailure'];
export type PageAccount = components['schemas']['Page_Account'];
export type PageArchive = components['schemas']['Page_Archive'];
export type PageContract = components['schemas']['Page_Contract'];
export type PageDecision = components['schemas']['Page_Decision'];
export type PageDomain = components['schemas']['Page_Domain'];
export type PageFreshness = components['schemas']['Page_Freshness'];
export type PageGate = components['schemas']['Page_Gate'];
export type PageGateAction = components['schemas']['Page_GateAction'];
export type PageLineage = components['schemas']['Page_Lineage'];
export type PageMartEntry = components['schemas']['Page_MartEntry'];
export type PageOperation = components['schemas']['Page_Operation'];
export type PagePerson = components['schemas']['Page_Person'];
export type PageQuarantineGroup = components['schemas']['Page_QuarantineGroup'];
export type PageQuarantineRow = components['schemas']['Page_QuarantineRow'];
export type PageRecorded = components['schemas']['Page_Recorded'];
export type PageRule = components['schemas']['Page_Rule'];
export type PageRuleResult = components['schemas']['Page_RuleResult'];
export type PageStream = components['schemas']['Page_Stream'];
export type PageToken = components['schemas']['Page_Token'];
export type ParquetFile = components['schemas']['ParquetFile'];
export type Part = components['schemas']['Part'];
export type Partition = components['schemas']['Partition'];
export type PartitionFailure = components['schemas']['PartitionFailure'];
export type Person = components['schemas']['Person'];
export type Problem = components['schemas']['Problem'];
export type QuarantineBody = components['schemas']['QuarantineBody'];
export type QuarantineEntry = components['schemas']['QuarantineEntry'];
export type QuarantineFilter = components['schemas']['QuarantineFilter'];
export type QuarantineGroup = components['schemas']['QuarantineGroup'];
export type QuarantineMessage = components['schemas']['QuarantineMessage'];
export type QuarantineRow = components['schemas']['QuarantineRow'];
export type QuarantineVersion = components['schemas']['QuarantineVersion'];
export type Queue = components['schemas']['Queue'];
export type Ready = components['schemas']['Ready'];
export type Recorded = components['schemas']['Recorded'];
export type ReplayFailure = components['schemas']['ReplayFailure'];
export type RestoreRequest = components['schemas']['RestoreRequest'];
export type Role = components['schemas']['Role'];
export type Root = components['schemas']['Root'];
export type Rule = components['schemas']['Rule'];
export type RuleResult = components['schemas']['RuleResult'];
export type Staged = components['schemas']['Staged'];
export type Stream = components['schemas']['Stream'];
export type StreamChange = components['schemas']['StreamChange'];
export type StreamDecision = components['schemas']['StreamDecision'];
export type Token = components['schemas']['Token'];
export type Trace = components['schemas']['Trace'];
export type TracedEntry = components['schemas']['TracedEntry'];
export type TracedMart = components['schemas']['TracedMart'];
export type TracedQuarantine = components['schemas']['TracedQuarantine'];
export type TracedVersion = components['schemas']['TracedVersion'];
export type Undo = components['schemas']['Undo'];
export type Waiting = components['schemas']['Waiting'];
export type Waits = components['schemas']['Waits'];
export type Wanted = components['schemas']['Wanted'];
export type Would = components['schemas']['Would'];
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
