-- What the model predicted of each of its masks on the slice where a segment's first prompt lies, and which was taken:
-- "SLICE CHOSEN IOU IOU ..."; '' where there was no prompt.
ALTER TABLE segment ADD COLUMN candidates TEXT NOT NULL DEFAULT '';
