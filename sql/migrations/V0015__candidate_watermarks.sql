-- What the columns of a candidate watermark say, in the words of docs/glossary.md. They keep their names: between this file and the
-- new routines, functions of the earlier version still read them.

comment on column core.queue_looks.mark_at is 'Candidate watermark: the look that is being followed. passed_at moves there when everything that was in the queue then is done';
comment on column core.queue_looks.mark_left is 'Messages that were ready at that look and are not known to have been delivered';
comment on column core.queue_looks.mark_due is 'When the last of them was delivered; null before';
comment on column core.queue_looks.mark_live is 'Consumers that reported their messages at that look; if their number changes, a new candidate replaces this one';
