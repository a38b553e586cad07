"""Annotation objects over a series, one maker for each carrier: what viewers and planning systems store.

A shape is (box, slice): the box x0, y0, x1, y1 in DICOM's SCOORD, (0,0) the outer corner of the first pixel, and the
index of the image in `series`, the headers along the normal. Each maker returns a dataset that save() writes.
"""
import os

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

LIVER = ('10200004', 'SCT', 'Liver')
LESION = ('52988006', 'SCT', 'Lesion')
ABDOMEN = ('818981001', 'SCT', 'Abdomen')
ANATOMY = ('123037004', 'SCT', 'Anatomical structure')


def code(value, scheme, meaning):
    d = Dataset()
    d.CodeValue, d.CodingSchemeDesignator, d.CodeMeaning = value, scheme, meaning
    return d


def new(sop_class, series, modality, when='20240301120000'):
    """An object in the study of the series, by another maker than msad."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d = FileDataset('', {}, file_meta=meta, preamble=b'\0' * 128)
    d.is_little_endian, d.is_implicit_VR = True, False
    d.SOPClassUID, d.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    for name in ('StudyInstanceUID', 'PatientID', 'PatientName', 'PatientBirthDate', 'PatientSex', 'StudyDate',
                 'StudyTime', 'StudyID', 'AccessionNumber', 'ReferringPhysicianName'):
        setattr(d, name, series[0].get(name, ''))
    d.SeriesInstanceUID, d.SeriesNumber, d.InstanceNumber = generate_uid(), 700, 1
    d.Modality, d.Manufacturer = modality, 'a viewer'
    d.ContentDate, d.ContentTime = when[:8], when[8:]
    return d


def save(dataset, path):
    dataset.save_as(path, write_like_original=False)
    return path


def reference(image):
    d = Dataset()
    d.ReferencedSOPClassUID, d.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return d


def corners(box):
    x0, y0, x1, y1 = box
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def in_space(image, x, y):
    """The corner (x, y) of an image's pixels in patient millimetres."""
    o = np.array([float(v) for v in image.ImageOrientationPatient])
    rows, cols = (float(v) for v in image.PixelSpacing)
    return np.array([float(v) for v in image.ImagePositionPatient]) + (x - 0.5) * cols * o[:3] + (y - 0.5) * rows * o[3:]


def box_mm(series, box, first, last):
    """[x0, y0, z0, x1, y1, z1] of the upright box over these slices of an axial, sagittal or coronal series."""
    ends = [in_space(series[k], *c) for k in (first, last) for c in corners(box)]
    return [float(v) for v in np.concatenate((np.min(ends, axis=0), np.max(ends, axis=0)))]


# ---- structured reports ----

def item(relation, kind, concept=None, content=(), **values):
    d = Dataset()
    d.RelationshipType, d.ValueType = relation, kind
    if concept:
        d.ConceptNameCodeSequence = Sequence([code(*concept)])
    for name, value in values.items():
        setattr(d, name, value)
    if content:
        d.ContentSequence = Sequence(content)
    return d


def report(series, shapes, label='', tracking=None, in_3d=False, when='20240301120000', drawing=None):
    """TID 1500, a measurement group for each shape; drawing: content items instead of areas (a line, say)."""
    d = new('1.2.840.10008.5.1.4.1.1.88.34', series, 'SR', when)
    d.CompletionFlag, d.VerificationFlag, d.PreliminaryFlag = 'COMPLETE', 'UNVERIFIED', 'FINAL'
    d.ReferencedPerformedProcedureStepSequence, d.PerformedProcedureCodeSequence = Sequence([]), Sequence([])
    d.ValueType, d.ContinuityOfContent = 'CONTAINER', 'SEPARATE'
    d.ConceptNameCodeSequence = Sequence([code('126000', 'DCM', 'Imaging Measurement Report')])
    groups = []
    for box, number in shapes:
        image, region = series[number], ('111030', 'DCM', 'Image Region')
        source = item('SELECTED FROM', 'IMAGE', ReferencedSOPSequence=Sequence([reference(image)]))
        if in_3d:
            points = [in_space(image, *c) for c in corners(box) + corners(box)[:1]]
            area = item('CONTAINS', 'SCOORD3D', region, GraphicType='POLYGON', ReferencedFrameOfReferenceUID=image.FrameOfReferenceUID,
                        GraphicData=[float(v) for p in points for v in p])
        else:
            area = item('CONTAINS', 'SCOORD', region, [source], GraphicType='POLYLINE',
                        GraphicData=[float(v) for c in corners(box) + corners(box)[:1] for v in c])
        if drawing:
            area = item('CONTAINS', 'SCOORD', region, [source], GraphicType='POLYLINE', GraphicData=drawing)
        groups.append(item('CONTAINS', 'CONTAINER', ('125007', 'DCM', 'Measurement Group'), [
            item('HAS OBS CONTEXT', 'TEXT', ('112039', 'DCM', 'Tracking Identifier'), TextValue=label or 'Lesion 1'),
            item('HAS OBS CONTEXT', 'UIDREF', ('112040', 'DCM', 'Tracking Unique Identifier'), UID=tracking or generate_uid()),
            item('CONTAINS', 'CODE', ('276214006', 'SCT', 'Finding category'), ConceptCodeSequence=Sequence([code(*ANATOMY)])),
            item('CONTAINS', 'CODE', ('121071', 'DCM', 'Finding'), ConceptCodeSequence=Sequence([code(*LIVER)])),
            item('CONTAINS', 'CODE', ('363698007', 'SCT', 'Finding Site'), ConceptCodeSequence=Sequence([code(*ABDOMEN)])),
            area], ContinuityOfContent='SEPARATE'))
    d.ContentSequence = Sequence([item('CONTAINS', 'CONTAINER', ('126010', 'DCM', 'Imaging Measurements'), groups,
                                       ContinuityOfContent='SEPARATE')])
    evidence, of_series = Dataset(), Dataset()
    evidence.StudyInstanceUID, of_series.SeriesInstanceUID = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    of_series.ReferencedSOPSequence = Sequence([reference(series[number]) for _, number in shapes])
    evidence.ReferencedSeriesSequence = Sequence([of_series])
    d.CurrentRequestedProcedureEvidenceSequence = Sequence([evidence])
    return d


def key_objects(series, numbers):
    d = new('1.2.840.10008.5.1.4.1.1.88.59', series, 'KO')
    d.ReferencedPerformedProcedureStepSequence = Sequence([])
    d.ValueType, d.ContinuityOfContent = 'CONTAINER', 'SEPARATE'
    d.ConceptNameCodeSequence = Sequence([code('113000', 'DCM', 'Of Interest')])
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = 'DCMR', '2010'
    d.ContentTemplateSequence = Sequence([template])
    d.ContentSequence = Sequence([item('CONTAINS', 'IMAGE', ReferencedSOPSequence=Sequence([reference(series[k])])) for k in numbers])
    evidence, of_series = Dataset(), Dataset()
    evidence.StudyInstanceUID, of_series.SeriesInstanceUID = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    of_series.ReferencedSOPSequence = Sequence([reference(series[k]) for k in numbers])
    evidence.ReferencedSeriesSequence = Sequence([of_series])
    d.CurrentRequestedProcedureEvidenceSequence = Sequence([evidence])
    return d


# ---- the others ----

def presentation_state(series, shapes, label, when='20240301120000'):
    """Graphics in PIXEL units, each with its label as a text beside it."""
    d = new('1.2.840.10008.5.1.4.1.1.11.1', series, 'PR', when)
    d.PresentationCreationDate, d.PresentationCreationTime = d.ContentDate, d.ContentTime
    d.ContentLabel, d.ContentDescription, d.ContentCreatorName = 'BOXES', '', ''
    d.PresentationLUTShape = 'IDENTITY'
    layer, of_series, area = Dataset(), Dataset(), Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = 'BOXES', 1
    d.GraphicLayerSequence, annotations = Sequence([layer]), []
    for box, number in shapes:
        a, graphic, words = Dataset(), Dataset(), Dataset()
        a.ReferencedImageSequence, a.GraphicLayer = Sequence([reference(series[number])]), 'BOXES'
        graphic.GraphicAnnotationUnits, graphic.GraphicDimensions, graphic.NumberOfGraphicPoints = 'PIXEL', 2, 5
        graphic.GraphicData = [float(v) for c in corners(box) + corners(box)[:1] for v in c]
        graphic.GraphicType, graphic.GraphicFilled = 'POLYLINE', 'N'
        words.UnformattedTextValue, words.AnchorPointAnnotationUnits = label, 'PIXEL'
        words.AnchorPoint, words.AnchorPointVisibility = [float(box[0]), float(box[1])], 'N'
        a.GraphicObjectSequence, a.TextObjectSequence = Sequence([graphic]), Sequence([words])
        annotations.append(a)
    d.GraphicAnnotationSequence = Sequence(annotations)
    of_series.SeriesInstanceUID = series[0].SeriesInstanceUID
    of_series.ReferencedImageSequence = Sequence([reference(series[number]) for _, number in shapes])
    d.ReferencedSeriesSequence = Sequence([of_series])
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [int(series[0].Columns), int(series[0].Rows)]
    area.PresentationSizeMode, area.PresentationPixelSpacing = 'SCALE TO FIT', series[0].PixelSpacing
    d.DisplayedAreaSelectionSequence = Sequence([area])
    return d


def structure_set(series, shapes, label, when='20240301120000'):
    d = new('1.2.840.10008.5.1.4.1.1.481.3', series, 'RTSTRUCT', when)
    frame_uid = series[0].FrameOfReferenceUID
    d.StructureSetLabel, d.StructureSetDate, d.StructureSetTime = 'BOXES', d.ContentDate, d.ContentTime
    frame, study, of_series = Dataset(), Dataset(), Dataset()
    of_series.SeriesInstanceUID = series[0].SeriesInstanceUID
    of_series.ContourImageSequence = Sequence([reference(series[number]) for _, number in shapes])
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = '1.2.840.10008.3.1.2.3.1', series[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = Sequence([of_series])
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = frame_uid, Sequence([study])
    d.ReferencedFrameOfReferenceSequence = Sequence([frame])
    roi, contours, observation = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ReferencedFrameOfReferenceUID, roi.ROIName, roi.ROIGenerationAlgorithm = 4, frame_uid, label, 'MANUAL'
    drawn = []
    for box, number in shapes:
        c = Dataset()
        c.ContourImageSequence = Sequence([reference(series[number])])
        c.ContourGeometricType, c.NumberOfContourPoints = 'CLOSED_PLANAR', 4
        c.ContourData = ['%.6g' % v for p in corners(box) for v in in_space(series[number], *p)]
        drawn.append(c)
    contours.ReferencedROINumber, contours.ROIDisplayColor, contours.ContourSequence = 4, [255, 0, 0], Sequence(drawn)
    observation.ObservationNumber, observation.ReferencedROINumber = 1, 4
    observation.RTROIInterpretedType, observation.ROIInterpreter = '', ''
    d.StructureSetROISequence, d.ROIContourSequence = Sequence([roi]), Sequence([contours])
    d.RTROIObservationsSequence = Sequence([observation])
    return d


def segmentation(series, shapes, label, tracking=None, when='20240301120000', masks=None):
    """BINARY, one segment; each shape a frame on which its box is filled, or that of masks (frames, rows, columns)."""
    d = new('1.2.840.10008.5.1.4.1.1.66.4', series, 'SEG', when)
    rows, cols = int(series[0].Rows), int(series[0].Columns)
    d.FrameOfReferenceUID, d.PositionReferenceIndicator = series[0].FrameOfReferenceUID, ''
    d.ImageType = ['DERIVED', 'PRIMARY']
    d.ContentLabel, d.ContentDescription, d.ContentCreatorName = 'SEG', '', ''
    d.Rows, d.Columns, d.NumberOfFrames = rows, cols, len(shapes)
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, 'MONOCHROME2', 0
    d.BitsAllocated, d.BitsStored, d.HighBit = 1, 1, 0
    d.LossyImageCompression, d.SegmentationType = '00', 'BINARY'
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 2, label, 'MANUAL'
    segment.SegmentedPropertyCategoryCodeSequence = Sequence([code(*ANATOMY)])
    segment.SegmentedPropertyTypeCodeSequence = Sequence([code(*LIVER)])
    segment.AnatomicRegionSequence = Sequence([code(*ABDOMEN)])
    if tracking:
        segment.TrackingID, segment.TrackingUID = label, tracking
    d.SegmentSequence = Sequence([segment])
    of_series = Dataset()
    of_series.SeriesInstanceUID = series[0].SeriesInstanceUID
    of_series.ReferencedInstanceSequence = Sequence([reference(series[number]) for _, number in shapes])
    d.ReferencedSeriesSequence = Sequence([of_series])
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = series[0].PixelSpacing, series[0].SliceThickness
    orientation.ImageOrientationPatient = series[0].ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    d.SharedFunctionalGroupsSequence = Sequence([shared])
    frames, pixels = [], np.zeros((len(shapes), rows, cols), np.uint8)
    for at, (box, number) in enumerate(shapes):
        x0, y0, x1, y1 = (int(v) for v in box)
        pixels[at, y0:y1, x0:x1] = 1 if masks is None else masks[at][y0:y1, x0:x1]
        frame, content, position, which, derived, source = (Dataset() for _ in range(6))
        content.DimensionIndexValues = [1, at + 1]
        position.ImagePositionPatient = series[number].ImagePositionPatient
        which.ReferencedSegmentNumber = 2
        source = reference(series[number])
        source.PurposeOfReferenceCodeSequence = Sequence([code('121322', 'DCM', 'Source image for image processing operation')])
        derived.SourceImageSequence = Sequence([source])
        derived.DerivationCodeSequence = Sequence([code('113076', 'DCM', 'Segmentation')])
        frame.FrameContentSequence, frame.PlanePositionSequence = Sequence([content]), Sequence([position])
        frame.SegmentIdentificationSequence, frame.DerivationImageSequence = Sequence([which]), Sequence([derived])
        frames.append(frame)
    d.PerFrameFunctionalGroupsSequence = Sequence(frames)
    bits = np.packbits(pixels.ravel(), bitorder='little').tobytes()
    d.PixelData = bits + b'\0' * (len(bits) % 2)
    d['PixelData'].VR = 'OB'
    return d


# ---- copies of a series ----

def copy_series(files, folder, number, study=True):
    """The same images as another series (of another study and frame of reference); returns the sorted headers."""
    os.makedirs(folder, exist_ok=True)
    for path in files:
        d = pydicom.dcmread(path)
        names = ['SeriesInstanceUID', 'SOPInstanceUID'] + (['StudyInstanceUID', 'FrameOfReferenceUID'] if study else [])
        for name in names:
            setattr(d, name, '%s.%d' % (getattr(d, name)[:55], number))
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
        d.save_as(os.path.join(folder, os.path.basename(path)))
    return folder
