-- The days that the rows of a batch lie in, so that its merges open those partitions of staging and no others.

alter table core.batches
    add column first_day date,
    add column last_day date;
comment on column core.batches.first_day is 'First day inside the ids of its rows, that is the first partition of staging that has any; null in batches of older workers';
comment on column core.batches.last_day is 'Last day inside the ids of its rows; null in batches of older workers';
