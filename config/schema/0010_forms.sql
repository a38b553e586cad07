-- In which form a segmentation was written, as "labelmap-ohif-rle"; '' for what goes beside one, and for what was made
-- before this was kept.
ALTER TABLE result ADD COLUMN form TEXT NOT NULL DEFAULT '';
