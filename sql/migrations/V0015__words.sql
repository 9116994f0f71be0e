-- A candidate watermark of a queue has that name. Only core.note_looks and core.queue_progress read these columns; programs of
-- earlier versions call the function.

alter table core.queue_looks rename column mark_at to watermark_at;
alter table core.queue_looks rename column mark_left to watermark_left;
alter table core.queue_looks rename column mark_due to watermark_due;
alter table core.queue_looks rename column mark_live to watermark_live;
comment on column core.queue_looks.watermark_at is 'Candidate watermark: the look that is being followed. passed_at moves there when everything that was in the queue then is done';
comment on column core.queue_looks.watermark_left is 'Messages that were ready at that look and are not known to have been delivered';
comment on column core.queue_looks.watermark_due is 'When the last of them was delivered; null before';
comment on column core.queue_looks.watermark_live is 'Consumers that report what they hold, at that look; when their number changes the candidate is given up for a new one';
